"""Terminal output: drawn tables, a progress bar, a refreshed page. Imports rich."""

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

GAP = 2
INDENT = 2
MOST_LINES = 2
"""Most lines per row that hold several columns; a column wider than the terminal adds one."""
LEAST_BAR, LARGEST_BAR = 12, 40
COLOURS = {"fake": "red", "uncertain": "yellow", "real": "green", "failed": "magenta"}


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw one page of a table on standard output; cells are literal text, not markup.

    A table wider than the terminal has its columns stacked on up to `MOST_LINES` lines per row, or
    else one column per line. No word is broken: the terminal wraps what is wider, so that it is
    copied in one piece.
    """
    console = Console()
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    groups = _stacked(widths, console.width)
    if sum(len(group) > 1 for group in groups) > MOST_LINES:
        lines = _one_below_another(columns, rows)
    else:
        lines = (line for row in (columns, *rows) for line in _laid_out(row, widths, groups))
    for line in lines:
        console.print(line, soft_wrap=True)


def _stacked(widths: Sequence[int], room: int) -> list[range]:
    """Return the columns of each line of a row; lines after the first are indented."""
    groups, begin, used = [], 0, 0
    for column, width in enumerate(widths):
        if column > begin and used + width > room:
            groups.append(range(begin, column))
            begin, used = column, INDENT
        used += width + GAP
    return [*groups, range(begin, len(widths))]


def _laid_out(row: Sequence[str], widths: Sequence[int], groups: Sequence[range]) -> Iterator[Text]:
    """Yield the lines of one row; empty ones after the first are left out."""
    for position, group in enumerate(groups):
        line = Text(" " * INDENT if position else "")
        for column in group:
            line.append(row[column], COLOURS.get(row[column], ""))
            line.append(" " * (widths[column] - cell_len(row[column]) + GAP))
        line.rstrip()
        if line or not position:
            yield line


def _one_below_another(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    width = max(map(cell_len, columns))
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            yield from _laid_out((name, value), (width, 0), [range(2)])
        yield Text()


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """Yield a callback that moves a bar on standard error: images ended, total, and a line.

    Within the context, text on standard error appears above the bar. Nothing may be written to
    standard output if that is the same terminal.
    """
    before = sys.stderr
    console = Console(file=before)
    bar = _Bar(title)
    with Live(
        bar, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        sys.stderr = _AboveTheBar(console, before)

        def move(ended: int, total: int | None, said: str) -> None:
            bar.ended, bar.total, bar.said = ended, total, said
            live.refresh()

        try:
            yield move
        finally:
            sys.stderr = before


class _Bar:
    """A bar with its progress in words beside it, or below it on a narrow terminal."""

    def __init__(self, title: str) -> None:
        self.ended = 0
        self.total: int | None = None
        self.said = ""
        self._title = title
        self._spinner = Spinner("dots")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        said = Text(self.said, no_wrap=True, overflow="ellipsis")
        room = options.max_width - len(self._title) - 3
        beside = room - said.cell_len - 1
        is_wide = beside >= LEAST_BAR
        width = max(1, min(LARGEST_BAR, beside if is_wide else room))
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(
            self._spinner,
            Text(self._title, no_wrap=True),
            ProgressBar(self.total, self.ended, width, pulse=self.total is None),
            *([said] if is_wide else []),
        )
        yield line
        if not is_wide:
            yield said


class _AboveTheBar(io.TextIOBase):
    """Standard error while a bar is drawn: whole lines are written above the bar."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, console: Console, before: TextIO) -> None:
        self._console = console
        self._before = before
        self._lock = threading.Lock()
        self._begun = ""

    def write(self, text: str) -> int:
        with self._lock:
            whole, _, self._begun = (self._begun + text).rpartition("\n")
            if "\n" in text:
                self._console.print(Text.from_ansi(whole), soft_wrap=True)
        return len(text)

    def isatty(self) -> bool:
        return self._before.isatty()

    def fileno(self) -> int:
        return self._before.fileno()


def show_refreshed(pages: Iterable[str]) -> None:
    """Show pages of text, each in place of the last; the final one stays."""
    with Live(console=Console(), auto_refresh=False) as live:
        for page in pages:
            live.update(Text(page), refresh=True)
