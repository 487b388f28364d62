"""Results of a contender's run, and a table of several."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FAKESWEEP = "fakesweep"


@dataclass(frozen=True)
class Job:
    """Task of a race's contenders: `source` is the folder or its URI.

    `settings` are fakesweep's settings to reach the source.
    """

    folder: Path
    source: str
    images: int
    checkpoint: Path
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: `seconds` last from ready to the last row, `start_seconds` precede them.

    `first_seconds` is the time to the first result. `peak_bytes` is the largest PSS of the
    process tree without database servers, `tenth_bytes` the same over the first tenth.
    """

    images: int
    rows: int
    seconds: float
    start_seconds: float
    first_seconds: float
    peak_bytes: int
    tenth_bytes: int = 0

    @property
    def images_per_second(self) -> float:
        """Rows a second; images without a row do not count."""
        return self.rows / self.seconds

    @property
    def moving_per_second(self) -> float:
        """Rows a second without the time to the first result, which favours slow starters."""
        return self.rows / max(0.001, self.seconds - self.first_seconds)


@dataclass(frozen=True)
class Result:
    """All runs of one contender in one race; `trouble` is the reason of a missing one."""

    race: str
    contender: str
    sink: str
    runs: Sequence[Run]
    trouble: str = ""

    @property
    def images_per_second(self) -> float:
        """Median over the runs, 0 without any."""
        return statistics.median([run.images_per_second for run in self.runs] or [0.0])

    @property
    def moving_per_second(self) -> float:
        """Median of the rates without the time to the first result, 0 without any."""
        return statistics.median([run.moving_per_second for run in self.runs] or [0.0])


def scatter(values: Sequence[float]) -> float:
    """Return the range of values as a share of their median."""
    return (max(values) - min(values)) / statistics.median(values)


HEADINGS = (
    "contender", "median", "min", "max", "per core", "x ours", "start s", "first s",
    "peak MiB", "rows", "sink",
)  # fmt: skip


def table(results: Sequence[Result], cores: int) -> str:
    """Return the table of one race, fastest first, and a sentence about the leader."""
    ran = sorted((one for one in results if one.runs), key=lambda one: -one.images_per_second)
    ours = next((one.images_per_second for one in ran if one.contender == FAKESWEEP), None)
    lines = [HEADINGS, *(_cells(one, cores, ours) for one in ran)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if place in (0, len(widths) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    text += [f"{one.contender}: not run: {one.trouble}" for one in results if not one.runs]
    if ours is not None and len(ran) > 1:
        text.append(_who_is_ahead(ran, ours))
    text += [_growth(one) for one in ran if any(run.tenth_bytes for run in one.runs)]
    return "\n".join(text)


def _cells(result: Result, cores: int, ours: float | None) -> tuple[str, ...]:
    rates = [run.images_per_second for run in result.runs]
    middle = result.images_per_second
    run = result.runs[0]
    return (
        result.contender,
        f"{middle:.1f}",
        f"{min(rates):.1f}",
        f"{max(rates):.1f}",
        f"{middle / cores:.1f}",
        f"{middle / ours:.2f}" if ours else "",
        f"{statistics.median(one.start_seconds for one in result.runs):.1f}",
        f"{statistics.median(one.first_seconds for one in result.runs):.1f}",
        f"{max(one.peak_bytes for one in result.runs) / 2**20:.0f}",
        f"{min(one.rows for one in result.runs)}/{run.images}",
        result.sink,
    )


def _growth(result: Result) -> str:
    ratio = statistics.median(run.peak_bytes / run.tenth_bytes for run in result.runs)
    return f"{result.contender}: peak memory is {ratio:.2f} x what it was after a tenth of them"


def _who_is_ahead(ran: Sequence[Result], ours: float) -> str:
    others = [one for one in ran if not one.contender.startswith(FAKESWEEP)]
    if not others:
        return "no peer took part"
    ahead = [one for one in others if one.images_per_second > ours]
    if not ahead:
        nearest = others[0]
        ratio = ours / nearest.images_per_second
        return f"fakesweep is ahead: {ratio:.2f} x {nearest.contender}, the next"
    told = (f"{one.contender} ({one.images_per_second / ours:.2f} x ours)" for one in ahead)
    return f"ahead of fakesweep: {', '.join(told)}"
