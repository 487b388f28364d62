"""Results of the GPU benchmark, as rows of a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEADINGS = ("model", "part", "way", "median", "min", "max", "per core", "share", "")


@dataclass(frozen=True)
class Measured:
    """Images a second of one part, a rate for each repeat.

    `wall` is the rate of its bottleneck, named by `wall_name`; `facts` are further observations.
    """

    model: str
    part: str
    way: str
    rates: tuple[float, ...]
    wall: float | None = None
    wall_name: str = ""
    facts: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.rates)

    @property
    def share(self) -> float | None:
        """Share of the bottleneck's rate that it reaches."""
        return self.images_per_second / self.wall if self.wall else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        derived = {"images_per_second": self.images_per_second, "share": self.share}
        return {**asdict(self), "facts": dict(self.facts), **derived}


def table(rows: Sequence[Measured], cores: int) -> str:
    """Return the rows as a text table."""
    lines = [HEADINGS, *(_cells(row, cores) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 3 <= place <= 6 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: Measured, cores: int) -> tuple[str, ...]:
    share = "" if row.share is None else f"{row.share:.0%} of {row.wall_name}"
    facts = ", ".join(f"{name} {_told(fact)}" for name, fact in row.facts.items())
    numbers = (row.images_per_second, min(row.rates), max(row.rates), row.images_per_second / cores)
    return (row.model, row.part, row.way, *(f"{number:,.1f}" for number in numbers), share, facts)


def _told(fact: float | str) -> str:
    return fact if isinstance(fact, str) else f"{fact:.2f}"
