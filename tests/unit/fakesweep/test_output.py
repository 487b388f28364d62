import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from fakesweep import terminal
from fakesweep.output import PAGE_ROWS, Format, defused, plain, write_rows

NOON = datetime(2026, 11, 20, 14, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (True, True),
        (0.25, 0.25),
        (Decimal("1.50"), 1.5),
        (float("nan"), "nan"),
        (NOON, "2026-11-20T12:00:00+00:00"),
        (NOON.replace(tzinfo=None), "2026-11-20T14:00:00"),
        (date(2026, 11, 20), "2026-11-20"),
        (memoryview(b"\x00\xff"), "00ff"),
        ({"REAL": 0.1, "at": NOON}, {"REAL": 0.1, "at": "2026-11-20T12:00:00+00:00"}),
        ([1, (2.0, None)], [1, [2.0, None]]),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_every_value_has_a_spelling_in_json(value: object, said: object) -> None:
    assert plain(value) == said
    json.loads(json.dumps(plain(value), allow_nan=False))


def _written(capsys: pytest.CaptureFixture[str], form: Format, *rows: tuple[Any, ...]) -> str:
    write_rows(("uri", "p_fake", "scores"), rows, form)
    return capsys.readouterr().out


def test_json_lines_keep_order_and_say_null_for_absent(capsys: pytest.CaptureFixture[str]) -> None:
    out = _written(capsys, Format.JSONL, ("s3://b/a", 0.5, {"REAL": 0.5}), ("s3://b/b", None, None))
    assert out == (
        '{"uri": "s3://b/a", "p_fake": 0.5, "scores": {"REAL": 0.5}}\n'
        '{"uri": "s3://b/b", "p_fake": null, "scores": null}\n'
    )


def test_json_lines_hold_no_character_a_terminal_could_act_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = _written(capsys, Format.JSONL, ("s3://b/\x1b[31m\x9b\u202e", 0.5, None))
    assert out.isascii()
    assert json.loads(out)["uri"] == "s3://b/\x1b[31m\x9b\u202e"


def test_json_lines_lose_no_column_of_the_same_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(("n", "n", "n_2"), [(1, 2, 3)], Format.JSONL)
    assert json.loads(capsys.readouterr().out) == {"n": 1, "n_2": 2, "n_2_2": 3}


def test_csv_holds_what_json_holds(capsys: pytest.CaptureFixture[str]) -> None:
    out = _written(capsys, Format.CSV, ('s3://b/a,"b"\nc', 0.5, {"REAL": 0.5}), ("x", None, None))
    assert list(csv.reader(io.StringIO(out))) == [
        ["uri", "p_fake", "scores"],
        ['s3://b/a,"b"\nc', "0.5", '{"REAL": 0.5}'],
        ["x", "", ""],
    ]


@pytest.mark.parametrize(
    "start",
    [
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        " =",
        "\n +",
        "\u3000@",
        "\uff1d",
        "\uff0b",
        "\uff0d",
        "\uff20",
    ],
)
def test_no_text_is_a_formula_to_a_spreadsheet(start: str) -> None:
    assert defused(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


def test_heads_and_texts_out_of_json_are_defused_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(("=head", "b"), [(["=list"], {"=key": "=value"})], Format.CSV)
    out = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert out == [["'=head", "b"], ['["=list"]', '{"=key": "=value"}']]


def test_a_negative_number_stays_a_number_in_csv() -> None:
    assert defused(-1.5) == "-1.5"
    assert defused(Decimal(-2)) == "-2.0"


def test_a_table_elsewhere_than_on_a_terminal_is_aligned_plain_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = _written(capsys, Format.TABLE, ("s3://b/long-name", 0.5, None), ("x\x1b", None, [1]))
    assert out == (
        "uri               p_fake  scores\ns3://b/long-name  0.5\nx\\x1b                     [1]\n"
    )


def test_an_empty_table_shows_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert _written(capsys, Format.TABLE) == "uri  p_fake  scores\n"


def test_tabs_stand_between_cells_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = _written(capsys, Format.TABS, ("a\tb", 1, None))
    assert out == "uri\tp_fake\tscores\na\\tb\t1\t\n"


@pytest.mark.parametrize("form", list(Format))
def test_rows_are_written_while_they_still_come(
    form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    written = 0

    def endless() -> Iterator[tuple[int]]:
        nonlocal written
        for number in range(3 * PAGE_ROWS):
            if number == 2 * PAGE_ROWS:
                written = len(capsys.readouterr().out.splitlines())
            yield (number,)

    write_rows(("number",), endless(), form)
    assert written >= PAGE_ROWS


def test_a_drawn_table_takes_cells_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.draw_table(("uri", "verdict"), [("[red]not markup[/red]", "fake")])
    assert "[red]not markup[/red]" in capsys.readouterr().out


def test_a_table_far_wider_than_the_terminal_is_drawn_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal.draw_table([f"column_{n}" for n in range(20)], [[f"value {n}" for n in range(20)]])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["column_0 value 0", "column_1 value 1"]


def test_times_are_written_in_utc() -> None:
    assert plain(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05+00:00"
