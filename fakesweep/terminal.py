"""What only a terminal gets: drawn tables, a moving progress bar, a refreshed page. Loads rich."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

LEAST_WIDTH = 6
GAP = 2
COLOURS = {"fake": "red", "uncertain": "yellow", "real": "green", "failed": "magenta"}


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw one page of a table on standard output; cells are taken to the letter.

    A table far wider than the terminal is drawn row by row instead, a line for each column.
    """
    console = Console()
    widths = (max(map(len, cells)) for cells in zip(columns, *rows, strict=True))
    if sum(min(width, LEAST_WIDTH) + GAP for width in widths) - GAP > console.width:
        for row in rows:
            console.print(_table(("", ""), list(zip(columns, row, strict=True)), heads=False))
    else:
        console.print(_table(columns, rows, heads=True))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """Yield what moves a bar on standard error: images ended, images in all, and a line."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, said="")

        def move(ended: int, total: int | None, said: str) -> None:
            bar.update(task, completed=ended, total=total, said=said)

        yield move


def show_refreshed(pages: Iterable[str]) -> None:
    """Show each page of text in the place of the one before; the last one stays."""
    with Live(console=Console(), auto_refresh=False) as live:
        for page in pages:
            live.update(Text(page), refresh=True)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, heads: bool) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=heads)
    for position, column in enumerate(columns):
        table.add_column(Text(column), overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(Text(value, COLOURS.get(value, "")) for value in row))
    if not heads:
        table.add_row()
    return table
