import io
import re

import pytest
from rich.console import Console

from fakesweep import terminal
from tests.terminals import STYLE, lines_left, run_on_terminal

SAID = "120 of 400 images so far, 14.0 images/s, 20 s left so far, 5 failed"

SCAN = """
import threading, click, structlog
from fakesweep import terminal
from fakesweep.quiet import log_troubles
from schema.settings import Settings

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
