"""Report of a run, as Markdown and as JSON."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.checks import Check
from tests.chaos.disturbance import Record
from tests.chaos.processes import Death
from tests.chaos.traces import FENCED, Logs, Work


@dataclass(frozen=True)
class Report:
    """Results of a run."""

    command: str
    seed: int
    seconds: float
    images: int
    records: Sequence[Record]
    checks: Sequence[Check]
    deaths: Sequence[Death]
    work: Work
    logs: Logs
    notes: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return the results as plain values."""
        return {**asdict(self), "passed": self.passed}

    def as_markdown(self) -> str:
        """Return the results as a page."""
        failed = [check.name for check in self.checks if not check.passed]
        verdict = "every check passed" if self.passed else f"FAILED: {'; '.join(failed)}"
        head = f"`{self.command}`: {len(self.records)} faults in {self.seconds:.0f} s, {verdict}"
        notes = "\n".join(f"- {note}" for note in (*self._facts(), *self.notes))
        tables = (_faults(self.records), _kinds(self.records), _checks(self.checks))
        return "\n\n".join((head, *tables, notes))

    def _facts(self) -> Iterable[str]:
        work = self.work
        yield f"{self.images} images ended; {work.needed} contents scored"
        yield (
            f"the devices scored {work.scored} images (killed workers do not tell of their last "
            f"second); {work.fetched_again} images were fetched again, {work.taken_again} times "
            f"one of {work.batches} batches was taken up again; workers died {work.deaths} times"
        )
        fenced = self.logs.events.get(FENCED, 0)
        yield f"{fenced} batches were stored by another worker first, and the late one's let go"
        yield f"{len(self.deaths)} deaths that no fault asked for"
        for death in self.deaths:
            yield f"  - {death.process}, status {death.status}: {' | '.join(death.last_lines)}"


def _faults(records: Sequence[Record]) -> str:
    rows = [
        (one.number, f"{one.at_seconds:.0f}", one.kind, one.target, one.detail,
         f"{one.lasted_seconds:.1f}", _seconds(one.recovered_seconds), _limit(one))
        for one in records
    ]  # fmt: skip
    names = ("#", "at s", "fault", "target", "what", "lasted s", "recovered s", "kept")
    return _table(names, rows)


def _kinds(records: Sequence[Record]) -> str:
    by_kind: defaultdict[str, list[Record]] = defaultdict(list)
    for one in records:
        by_kind[one.kind].append(one)
    rows = []
    for kind, some in sorted(by_kind.items()):
        took = [one.recovered_seconds for one in some if one.recovered_seconds is not None]
        middle = statistics.median(took) if took else None
        rows.append((kind, len(some), _seconds(middle), _seconds(max(took, default=None))))
    return _table(("fault", "times", "median recovery s", "slowest s"), rows)


def _checks(checks: Sequence[Check]) -> str:
    rows = [("pass" if one.passed else "**FAIL**", one.name, one.found) for one in checks]
    return _table(("", "check", "found"), rows)


def _limit(record: Record) -> str:
    return "yes" if record.is_kept else f"**no** {record.complaint or ''}".strip()


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)
