"""Progress of a scan on standard error: a bar on a terminal, else a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.words import ScanState
from fakesweep.text import seconds_in_words

LINE_SECONDS = 5.0

Show = Callable[[Progress], None]


@contextmanager
def shown_progress(scan_id: int) -> Iterator[Show]:
    """Yield a callback that shows progress."""
    if not sys.stderr.isatty():
        yield _periodic_line(scan_id)
        return
    from fakesweep import terminal  # noqa: PLC0415 - rich is loaded for terminals only

    with terminal.progress_bar(f"scan {scan_id}") as move:

        def show(progress: Progress) -> None:
            listed = progress.state != ScanState.LISTING
            move(progress.ended, progress.submitted if listed else None, in_words(progress))

        yield show


def in_words(progress: Progress) -> str:
    """Return a scan's progress in one line."""
    so_far = " so far" if progress.state == ScanState.LISTING else ""
    words = [f"{progress.ended} of {progress.submitted} images{so_far}"]
    if progress.is_audit:
        words.append(f"{progress.unchanged} unchanged")
    if progress.images_per_second > 0:
        words.append(f"{progress.images_per_second:.1f} images/s")
    if progress.seconds_left is not None:
        words.append(f"{seconds_in_words(progress.seconds_left)} left")
    elif progress.seconds_left_so_far is not None:
        words.append(f"{seconds_in_words(progress.seconds_left_so_far)} left so far")
    if progress.failed:
        words.append(f"{progress.failed} failed")
    return ", ".join(words)


def _periodic_line(scan_id: int) -> Show:
    next_line = time.monotonic() + LINE_SECONDS
    last_ended = -1

    def show(progress: Progress) -> None:
        nonlocal next_line, last_ended
        if time.monotonic() < next_line or progress.ended == last_ended:
            return
        next_line, last_ended = time.monotonic() + LINE_SECONDS, progress.ended
        click.echo(f"scan {scan_id}: {in_words(progress)}", err=True)

    return show
