from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fakesweep import terminal
from fakesweep.foreground.progress import in_words, shown_progress
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.summary import Summary, as_page, identity, progress_as_json, rates_in_words

BEGUN = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUNNING = Progress(
    scan_id=7, name="holi\x1bday", lane="bulk", state="running", submitted=400, classified=100,
    reused=15, failed=5, pending=280, images_per_second=14.04, seconds_left=20.0,
    seconds_left_so_far=None, models=("vit-tiny-cifake",), policy="default", created_at=BEGUN,
    listed_at=BEGUN, finished_at=None, paused_at=None, progressed_at=BEGUN, is_audit=False,
    unchanged=0, new=0, changed=0, again=0, vanished=None, pruned_at=None,
    at=BEGUN + timedelta(seconds=10), first_finished_at=None,
)  # fmt: skip
AUDIT = replace(
    RUNNING, is_audit=True, unchanged=9_600, new=300, changed=60, again=40, vanished=7,
    listed_at=BEGUN + timedelta(seconds=4),
)  # fmt: skip
LISTING = replace(
    RUNNING, state="listing", listed_at=None, seconds_left=None, seconds_left_so_far=20.0
)


def test_progress_is_one_line() -> None:
    assert in_words(RUNNING) == "120 of 400 images, 14.0 images/s, 20 s left, 5 failed"


def test_progress_while_listing_says_that_more_may_come() -> None:
    listing = replace(LISTING, failed=0, classified=105)
    assert in_words(listing) == "120 of 400 images so far, 14.0 images/s, 20 s left so far"
    still = replace(listing, images_per_second=0.0, seconds_left_so_far=None)
    assert in_words(still) == "120 of 400 images so far"


def test_progress_of_an_audit_counts_unchanged_images() -> None:
    assert in_words(AUDIT).startswith("120 of 400 images, 9600 unchanged, 14.0 images/s")


def test_rates_are_of_the_last_minute_and_overall() -> None:
    assert rates_in_words(RUNNING) == "14.0 images/s in the last minute, 12.0 images/s on the whole"
    finished = replace(RUNNING, state="finished", finished_at=BEGUN + timedelta(seconds=60))
    assert rates_in_words(finished) == "2.0 images/s"


def test_the_time_left_of_a_scan_being_listed_is_marked_so_far() -> None:
    page = as_page(Summary(LISTING, (), {}, {}))
    assert "left       20 s for what is listed so far" in page.splitlines()


def test_the_page_of_an_audit_shows_its_counts() -> None:
    lines = as_page(Summary(AUDIT, (), {}, {})).splitlines()
    assert "audit      listed 10000 = unchanged 9600 + submitted 400, 2500.0 a second" in lines
    assert "changes    new 300, changed 60, again 40, vanished 7" in lines
    unknown = replace(AUDIT, vanished=None)
    assert (
        "changes    new 300, changed 60, again 40"
        in as_page(Summary(unknown, (), {}, {})).splitlines()
    )
    plain = as_page(Summary(RUNNING, (), {}, {}))
    assert "changes" not in plain
    assert "unchanged" not in plain


def test_an_audit_accounts_for_everything_it_listed_in_json() -> None:
    said = progress_as_json(AUDIT)
    assert said["listed"] == said["unchanged"] + said["submitted"] == 10_000
    assert said["submitted"] == said["new"] + said["changed"] + said["again"]
    assert (said["listed_per_second"], said["images_per_second_overall"]) == (2_500.0, 12.0)


def test_the_page_of_a_scan_shows_that_every_image_is_accounted_for() -> None:
    assert identity(RUNNING) == (
        "submitted 400 = classified 100 + reused 15 + failed 5 + pending 280"
    )
    page = as_page(
        Summary(
            RUNNING, ("/photos\x07",), {"m": {"real": 1, "uncertain": 2, "fake": 3}}, {"empty": 5}
        )
    )
    assert identity(RUNNING) in page
    assert "real 1, uncertain 2, fake 3 by m" in page
    assert "empty 5" in page
    assert all(line.isprintable() for line in page.splitlines())


def test_the_page_of_a_cancelled_scan_counts_the_images_not_judged() -> None:
    cancelled = replace(RUNNING, state="cancelled", seconds_left=None, finished_at=BEGUN)
    page = as_page(Summary(cancelled, (), {}, {}))
    assert "cancelled, 280 images were not judged" in page.splitlines()[0]
    assert "cancelled  2026-11-20 12:00:00 UTC" in page


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = 0.0
    monkeypatch.setattr("fakesweep.foreground.progress.time.monotonic", lambda: now)

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    return forward


def test_without_a_terminal_a_line_comes_every_few_seconds_and_only_on_change(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress(7) as show:
        show(RUNNING)
        assert capsys.readouterr().err == ""
        clock(6)
        show(RUNNING)
        show(RUNNING)
        assert capsys.readouterr().err == f"scan 7: {in_words(RUNNING)}\n"
        clock(6)
        show(RUNNING)
        assert capsys.readouterr().err == ""


def test_the_bar_moves_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress_bar("scan 7") as move:
        move(120, 400, "120 of 400 images [not markup]")
    captured = capsys.readouterr()
    assert captured.out == ""
