"""A scan's summary: as a page of text, as rows, and as one JSON object."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import Connection

from fakesweep.output import write_table
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.outputs.parts import OutputReport, output_of
from fakesweep.schema.ledger.registry.policies import policy_of_scan
from fakesweep.schema.ledger.reports.progress import Progress, progress, sources_of
from fakesweep.schema.ledger.reports.results import failure_counts, results, verdict_counts
from fakesweep.schema.ledger.scans.listing_counts import (
    INCLUDE,
    Pattern,
    left_out_counts,
    unmatched_patterns,
)
from fakesweep.schema.ledger.scans.scans import chosen
from fakesweep.schema.selection import Selection
from fakesweep.schema.telemetry.throughput import StageReport
from fakesweep.schema.words import Kind, ScanState, VerdictWord
from fakesweep.text import printable, program, seconds_in_words, shortened
from fakesweep.throughput import past_bottleneck

SMALL_SCAN_ROWS = 40
URI_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Summary:
    """A scan's progress, sources, counts by verdict and failure, output, selection and policy."""

    progress: Progress
    sources: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, int]
    output: OutputReport | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    unmatched: Sequence[Pattern] = ()
    selection: Selection = field(default_factory=Selection)
    cuts: Policy | None = None

    @property
    def lacks_what_was_included(self) -> bool:
        """Whether a listed scan took no image although `--include` names some.

        With `--since` that is an error only if each pattern matched nothing.
        """
        now = self.progress
        if now.listed_at is None or not self.selection.include or now.listed:
            return False
        includes = [one for one in self.unmatched if one.option == INCLUDE]
        return len(includes) == len(self.selection.include) or self.selection.since is None


def read_summary(connection: Connection, scan_id: int, counted: Summary | None = None) -> Summary:
    """Read a scan's summary; counts by verdict and failure are taken from `counted` if given.

    Counting reads every verdict of the scan: a second or more for millions.

    Raises:
        ScanError: there is no such scan.
    """
    now = progress(connection, scan_id)
    if counted is not None:
        return replace(
            counted,
            progress=now,
            output=output_of(connection, scan_id),
            left_out=left_out_counts(connection, scan_id),
            unmatched=unmatched_patterns(connection, scan_id),
            cuts=policy_of_scan(connection, scan_id),
        )
    return Summary(
        now,
        tuple(sources_of(connection, scan_id)),
        {
            model: {word.value: counts.get(word, 0) for word in VerdictWord}
            for model, counts in verdict_counts(connection, scan_id).items()
        },
        failure_counts(connection, scan_id),
        output_of(connection, scan_id),
        left_out_counts(connection, scan_id),
        unmatched_patterns(connection, scan_id),
        chosen(connection, scan_id).selection,
        policy_of_scan(connection, scan_id),
    )


def as_json(summary: Summary, stages: StageReport | None = None) -> dict[str, Any]:
    """Return the summary as one JSON object, with the bottleneck and stages if given."""
    said = progress_as_json(summary.progress) | {
        "sources": summary.sources,
        "verdicts": summary.verdicts,
        "failures": summary.failures,
        "output": summary.output and asdict(summary.output),
        "left_out": summary.left_out,
        "unmatched_patterns": [one._asdict() for one in summary.unmatched],
    }
    if summary.cuts is not None:
        said |= {"real_below": summary.cuts.real_below, "fake_above": summary.cuts.fake_above}
    if stages is not None:
        told = stages.as_json()
        said |= {name: told[name] for name in ("bottleneck", "wall", "stages")}
    return said


def progress_as_json(now: Progress) -> dict[str, Any]:
    """Return a scan's progress as one JSON object, with derived rates."""
    return asdict(now) | {
        "images_per_second_overall": round(now.images_per_second_overall, 2),
        "listed": now.listed,
        "listed_per_second": round(now.listed_per_second, 2),
    }


def as_page(summary: Summary) -> str:
    """Return the summary as a page of text, printable throughout."""
    now = summary.progress
    state = now.state
    if state == ScanState.CANCELLED:
        state += f", {now.pending} images were not judged"
    lines = [
        ("scan", f"{now.scan_id}{f' ({now.name})' if now.name else ''}, {state}"),
        *(("source", source) for source in summary.sources),
        *(("model", model) for model in now.models),
        ("policy", now.policy if summary.cuts is None else cuts_in_words(summary.cuts)),
        ("lane", now.lane),
        ("images", identity(now)),
        *audit_lines(now),
        *_counts(summary),
    ]
    if now.pruned_at is None:
        lines.append(("rate", rates_in_words(now)))
    if left := left_in_words(now):
        lines.append(("left", left))
    lines += _ends(summary)
    lines.append(("asked for", moment(now.created_at)))
    if now.finished_at is not None:
        lines.append((now.state, moment(now.finished_at)))
    if now.pruned_at is not None:
        lines.append(("pruned", f"{moment(now.pruned_at)}; the counts are of the remaining images"))
    return "\n".join(page_line(name, said) for name, said in lines)


def page_line(name: str, said: str) -> str:
    """Return one line of a page, printable throughout."""
    return f"{name:<10} {printable(said)}"


def identity(now: Progress) -> str:
    """Return the equation of counts that holds at every moment of a scan."""
    return (
        f"submitted {now.submitted} = classified {now.classified} + reused {now.reused} "
        f"+ failed {now.failed} + pending {now.pending}"
    )


def listing(now: Progress) -> str:
    """Return the equation of counts that holds at every moment of an audit."""
    return f"listed {now.listed} = unchanged {now.unchanged} + submitted {now.submitted}"


def audit_lines(now: Progress) -> Iterator[tuple[str, str]]:
    """Yield an audit's counts of listed and changed images, by name; nothing for other scans."""
    if not now.is_audit:
        return
    yield "audit", f"{listing(now)}, {now.listed_per_second:.1f} a second"
    gone = "" if now.vanished is None else f", vanished {now.vanished}"
    yield "changes", f"new {now.new}, changed {now.changed}, again {now.again}{gone}"


def rates_in_words(now: Progress) -> str:
    """Return a scan's rate: in the last minute and overall, or overall once it has ended."""
    overall = f"{now.images_per_second_overall:.1f} images/s"
    if ScanState(now.state).is_last:
        return overall
    return f"{now.images_per_second:.1f} images/s in the last minute, {overall} on the whole"


def left_in_words(now: Progress) -> str | None:
    """Return the time left of a scan, None while it is unknown."""
    if now.seconds_left is not None:
        return seconds_in_words(now.seconds_left)
    if now.seconds_left_so_far is not None:
        return f"{seconds_in_words(now.seconds_left_so_far)} for what is listed so far"
    return None


def write_scan_end(connection: Connection, summary: Summary, stages: StageReport | None) -> None:
    """Write a finished scan's rows if there are few, its counts, and commands to go on with."""
    now = summary.progress
    if 0 < now.submitted * len(now.models) <= SMALL_SCAN_ROWS:
        _write_verdicts(list(results(connection, now.scan_id)))
        click.echo()
    click.echo(f"scan {now.scan_id} {now.state}: {identity(now)}")
    cuts = [] if summary.cuts is None else [("policy", cuts_in_words(summary.cuts))]
    for name, said in (*audit_lines(now), *_counts(summary), *cuts, *_ends(summary)):
        click.echo(page_line(name, said))
    if stages is not None:
        rate = now.images_per_second_overall  # the rate that status shows
        click.echo(past_bottleneck(replace(stages, images_per_second=rate)))
    if now.state == ScanState.FINISHED:
        fake_above = 0.5 if summary.cuts is None else summary.cuts.fake_above
        commands = next_commands(now.scan_id, fake_above, failed=now.failed > 0)
        click.echo(f"\nGo on with\n{commands}")


def cuts_in_words(policy: Policy) -> str:
    """Return a policy's cut points in one line."""
    return (
        f"{policy.name}: fake above {policy.fake_above:g}, real below {policy.real_below:g}, "
        f"uncertain between"
    )


def next_commands(scan_id: int, fake_above: float, *, failed: bool) -> str:
    """Return commands that show a scan's results, one per line."""
    flagged = (
        f"SELECT uri, p_fake, size_bytes FROM verdicts "  # noqa: S608 - a number, for a person
        f"WHERE scan_id = {scan_id} AND p_fake > {fake_above:g} ORDER BY p_fake DESC"
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


def _ends(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield the files left out, the patterns without a match, and the output's destination."""
    if summary.left_out:
        said = ", ".join(f"{reason} {files}" for reason, files in summary.left_out.items())
        yield "left out", said
    if summary.progress.listed_at is not None:
        for option, pattern in summary.unmatched:
            yield "no match", f"--{option} {shlex.quote(pattern)}"
    if summary.output is not None:
        yield "output", summary.output.said


def _write_verdicts(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Write a row for each image and model, below the folder that all images share."""
    named = [row["path"] or row["uri"] for row in rows]
    folder = _shared_folder(named)
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
                shortened(printable(name.removeprefix(folder)), URI_WIDTH),
            )
            for row, name in zip(rows, named, strict=True)
        ),
    )
    if any(row["kind"] == Kind.UNKNOWN for row in rows):
        click.echo("\nkind unknown: the model does not tell AI-generated pictures from deepfakes")


def _shared_folder(names: Sequence[str]) -> str:
    folders = {name[: name.rfind("/") + 1] for name in names}
    return folders.pop() if len(folders) == 1 else ""


def moment(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
