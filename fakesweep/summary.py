"""What a person is told about a scan: as a page of text, as rows, and as one JSON object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import Connection

from fakesweep.output import write_table
from fakesweep.stages import past_wall
from fakesweep.text import printable, program, seconds_in_words, shortened
from schema.reports import (
    Progress,
    failure_counts,
    progress,
    results,
    sources_of,
    verdict_counts,
)
from schema.stages import StageReport
from schema.words import ScanState, VerdictWord

SMALL_SCAN_ROWS = 40
URI_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Summary:
    """A scan as it stands: its progress, its sources, and its counts by verdict and failure."""

    progress: Progress
    sources: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, int]


def read_summary(connection: Connection, scan_id: int) -> Summary:
    """Read how a scan stands.

    Raises:
        ScanError: there is no such scan.
    """
    return Summary(
        progress(connection, scan_id),
        tuple(sources_of(connection, scan_id)),
        {
            model: {word.value: counts.get(word, 0) for word in VerdictWord}
            for model, counts in verdict_counts(connection, scan_id).items()
        },
        failure_counts(connection, scan_id),
    )


def as_json(summary: Summary, stages: StageReport | None = None) -> dict[str, Any]:
    """Return the summary as one JSON object, with its wall and stages where these are known."""
    said = asdict(summary.progress) | {
        "sources": summary.sources,
        "verdicts": summary.verdicts,
        "failures": summary.failures,
    }
    if stages is not None:
        told = stages.as_json()
        said |= {"wall": told["wall"], "stages": told["stages"]}
    return said


def as_page(summary: Summary) -> str:
    """Return the summary as a page of text, printable throughout."""
    now = summary.progress
    state = now.state
    if state == ScanState.CANCELLED:
        state += f", {now.pending} images were not looked at"
    lines = [
        ("scan", f"{now.scan_id}{f' ({now.name})' if now.name else ''}, {state}"),
        *(("source", source) for source in summary.sources),
        *(("model", model) for model in now.models),
        ("policy", now.policy),
        ("lane", now.lane),
        ("images", identity(now)),
        *_counts(summary),
        ("rate", f"{now.images_per_second:.1f} images/s"),
    ]
    if now.seconds_left is not None:
        lines.append(("left", seconds_in_words(now.seconds_left)))
    lines.append(("asked for", moment(now.created_at)))
    if now.finished_at is not None:
        lines.append((now.state, moment(now.finished_at)))
    return "\n".join(page_line(name, said) for name, said in lines)


def page_line(name: str, said: str) -> str:
    """Return one line of a page, printable throughout."""
    return f"{name:<10} {printable(said)}"


def identity(now: Progress) -> str:
    """Return the sum that holds at every moment of every scan."""
    return (
        f"submitted {now.submitted} = classified {now.classified} + reused {now.reused} "
        f"+ failed {now.failed} + pending {now.pending}"
    )


def write_scan_end(connection: Connection, summary: Summary, stages: StageReport | None) -> None:
    """Write what came of a finished scan: rows where they are few, counts, and what to do next."""
    now = summary.progress
    if 0 < now.submitted * len(now.models) <= SMALL_SCAN_ROWS:
        _write_verdicts(list(results(connection, now.scan_id)))
        click.echo()
    click.echo(f"scan {now.scan_id} {now.state}: {identity(now)}")
    for name, said in _counts(summary):
        click.echo(page_line(name, said))
    if stages is not None:
        click.echo(past_wall(stages))
    if now.state == ScanState.FINISHED:
        click.echo(f"\nGo on with\n{next_commands(now.scan_id, failed=now.failed > 0)}")


def next_commands(scan_id: int, *, failed: bool) -> str:
    """Return commands to look at a scan with, one a line."""
    flagged = (
        f"SELECT uri, p_fake, size_bytes FROM verdicts "  # noqa: S608 - a number, for a person
        f"WHERE scan_id = {scan_id} AND p_fake > 0.8 ORDER BY p_fake DESC"
    )
    commands = [f"results {scan_id} --verdict fake", f"status {scan_id}", f'sql "{flagged}"']
    if failed:
        commands.insert(1, f"results {scan_id} --failed")
    return "\n".join(f"  {program()} {command}" for command in commands)


def _counts(summary: Summary) -> Iterator[tuple[str, str]]:
    for model, counts in summary.verdicts.items():
        words = ", ".join(f"{word} {count}" for word, count in counts.items())
        yield "verdicts", f"{words} by {model}"
    if summary.failures:
        yield "failures", ", ".join(f"{code} {count}" for code, count in summary.failures.items())


def _write_verdicts(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Write a row for each image and model, the folder that all images share above them."""
    folder = _shared_folder([row["uri"] for row in rows])
    if folder:
        click.echo(f"images below {printable(folder)}\n")
    write_table(
        ("verdict", "p_fake", "kind", "model", "image"),
        (
            (
                row["verdict"] or row["status"],
                "" if row["p_fake"] is None else f"{row['p_fake']:.4f}",
                row["kind"] or row["failure_code"],
                row["model"],
                shortened(printable(row["uri"].removeprefix(folder)), URI_WIDTH),
            )
            for row in rows
        ),
    )


def _shared_folder(uris: Sequence[str]) -> str:
    folders = {uri[: uri.rfind("/") + 1] for uri in uris}
    return folders.pop() if len(folders) == 1 else ""


def moment(time: datetime) -> str:
    """Return a time for people."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
