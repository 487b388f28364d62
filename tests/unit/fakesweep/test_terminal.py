import io
import re
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from fakesweep import terminal
from fakesweep.actions.status import COLUMNS
from tests.support.terminals import STYLE, lines_left, run_on_terminal

Table = Callable[[int, Sequence[str], Sequence[Sequence[str]]], list[str]]

SAID = "120 of 400 images so far, 14.0 images/s, 20 s left so far, 5 failed"

SCAN = """
import threading, click, structlog
from fakesweep import terminal
from fakesweep.logging_setup import log_troubles
from fakesweep.schema.settings import Settings

log_troubles(Settings())
with terminal.progress_bar("scan 7") as move:
    for ended in range(1, 9):
        move(ended, 8, f"{ended} of 8 images")
        teller = threading.Thread(
            target=structlog.get_logger("producer").warning,
            args=("leases_expired",), kwargs={"batches": ended, "reason": "word " * 30},
        )
        teller.start()
        teller.join()
        click.echo(f"told {ended}", err=True)
        move(ended, 8, f"{ended} of 8 images")
print("the end")
"""


@pytest.mark.parametrize("columns", [80, 200])
def test_what_is_logged_and_said_beside_a_bar_stands_on_lines_of_its_own(columns: int) -> None:
    status, received = run_on_terminal(SCAN, columns)
    assert status == 0, received
    lines = lines_left(received)
    assert [line for line in lines if line.startswith("told")] == [f"told {n}" for n in range(1, 9)]
    logged = [line for line in lines if "leases_expired" in line]
    assert len(logged) == 8
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in logged), logged
    assert not [line for line in (*logged, *lines[-1:]) if "━" in line or "of 8 images" in line]
    assert lines[-1] == "the end"


def drawn(bar: terminal._Bar, columns: int) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=columns, force_terminal=True).print(bar)
    return [line.rstrip() for line in STYLE.sub("", output.getvalue()).splitlines()]


@pytest.mark.parametrize(("columns", "lines"), [(40, 2), (80, 2), (100, 1), (200, 1)])
def test_the_bar_keeps_a_width_that_shows_how_far_it_is(columns: int, lines: int) -> None:
    bar = terminal._Bar("scan 1234")
    bar.ended, bar.total, bar.said = 120, 400, SAID
    seen = drawn(bar, columns)
    assert len(seen) == lines
    assert max(map(len, seen)) <= columns
    width = max(len(found) for found in re.findall("[━╸╺]+", seen[0]))
    assert terminal.LEAST_BAR <= width <= terminal.LARGEST_BAR
    assert "scan 1234" in seen[0]
    assert (SAID if columns >= 80 else SAID[:20]) in seen[-1]


def test_a_bar_whose_end_is_not_known_is_drawn_too() -> None:
    bar = terminal._Bar("scan 1")
    bar.said = "5 of 10 images so far"
    [line] = drawn(bar, 80)
    assert line.endswith(bar.said)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Table:
    """The lines of a table on a terminal of a given width."""

    def draw(width: int, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        terminal.draw_table(columns, rows)
        return capsys.readouterr().out.splitlines()

    return draw


SCANS = [
    (str(number), f"holiday-{number}", "finished", "1200000", "1199000", "990", "10", "0", "",
     "120.5", "", "deepguard ai-guard-vision", "2026-11-20 12:00")
    for number in range(900, 920)
]  # fmt: skip


def test_a_table_that_fits_has_a_line_for_each_row(table: Table) -> None:
    head, *lines = table(200, COLUMNS, SCANS)
    assert head.split() == " ".join(COLUMNS).split()
    assert len(lines) == len(SCANS)
    assert all(line.index("120.5") == head.index("images/s") for line in lines)


def test_at_80_columns_a_scan_takes_two_lines_and_no_word_is_broken(table: Table) -> None:
    lines = table(80, COLUMNS, SCANS)
    assert len(lines) == 2 * (1 + len(SCANS))
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert words == {word for row in (COLUMNS, *SCANS) for cell in row for word in cell.split()}
    assert all(line.startswith("  ") for line in lines[1::2])
    assert lines[2].startswith("900   holiday-900")


def test_what_is_wider_than_the_terminal_stays_in_one_piece(table: Table) -> None:
    uri = "s3://archive/" + "folder/" * 20 + "picture.jpg"
    lines = table(80, ("verdict", "p_fake", "image"), [("fake", "0.9912", uri), ("real", "0", "a")])
    assert lines == [
        "verdict  p_fake", "  image", "fake     0.9912", f"  {uri}", "real     0", "  a",
    ]  # fmt: skip


def test_lines_of_a_row_that_would_be_empty_are_left_out(table: Table) -> None:
    rows = [("real", "a" * 70, ""), ("failed", "b" * 70, "too_large: " + "c" * 60)]
    lines = table(80, ("verdict", "image", "failure"), rows)
    assert lines[1:4] == ["  failure", f"real     {'a' * 70}", f"failed   {'b' * 70}"]
    assert len(lines) == 5


def test_a_table_of_very_many_columns_is_shown_one_below_another(table: Table) -> None:
    columns = [f"column_{number}" for number in range(40)]
    lines = table(80, columns, [[f"value-{number}" for number in range(40)]])
    assert lines[7] == "column_7   value-7"
    assert len(lines) == 41


def test_cells_of_wide_characters_are_aligned_by_what_they_take_up(table: Table) -> None:
    lines = table(80, ("name", "state"), [("写真", "finished"), ("foto", "running")])
    assert lines[1:] == ["写真  finished", "foto  running"]
