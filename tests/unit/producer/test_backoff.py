import threading
from collections.abc import Callable

import pytest
import structlog
from structlog.testing import capture_logs

from fakesweep.producer import backoff as producer_waiting
from fakesweep.producer.backoff import FIRST_LINE_SECONDS, Backoff
from fakesweep.schema.words import BROKER, LEDGER


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_waiting, "_outages", producer_waiting.Outages())
    monkeypatch.setattr(producer_waiting, "log", structlog.get_logger())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = 100.0
    monkeypatch.setattr("fakesweep.producer.backoff.time.monotonic", lambda: now)

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    return forward


def hasty() -> Backoff:
    stop = threading.Event()
    stop.set()
    return Backoff(stop)


def test_threads_that_wait_for_one_server_share_one_log_line(
    clock: Callable[[float], None],
) -> None:
    listing, publishing = hasty(), hasty()
    with capture_logs() as lines:
        for _ in range(5):
            listing.wait(LEDGER, "refused\nin two lines")
            publishing.wait(LEDGER, "closed the connection")
            clock(1)
        listing.is_over()
        publishing.is_over()
    facts = {"awaited": LEDGER, "log_level": "warning"}
    assert lines == [
        {"event": "waiting", "seconds": 0.0, "reason": "refused", **facts},
        {"event": "waited", "seconds": 5.0, **facts},
    ]


def test_a_long_outage_is_logged_at_growing_intervals(clock: Callable[[float], None]) -> None:
    waiting = hasty()
    with capture_logs() as lines:
        for _ in range(100):
            waiting.wait(BROKER, "refused")
            clock(1)
    assert [line["seconds"] for line in lines] == [0, FIRST_LINE_SECONDS, 20, 40, 80]


def test_each_outage_and_each_awaited_server_has_its_own_line(
    clock: Callable[[float], None],
) -> None:
    first, second = hasty(), hasty()
    with capture_logs() as lines:
        first.wait(LEDGER, "refused")
        second.wait(BROKER, "refused")
        first.is_over()
        clock(1)
        first.wait(LEDGER, "refused again")
        first.wait("output", "no room")
        second.wait("output", "not allowed")
    assert [(line["event"], line["awaited"]) for line in lines] == [
        ("waiting", LEDGER), ("waiting", BROKER), ("waited", LEDGER), ("waiting", LEDGER),
        ("waiting", "output"), ("waiting", "output"),
    ]  # fmt: skip


def test_an_abandoned_outage_hides_no_later_one(
    clock: Callable[[float], None],
) -> None:
    left = hasty()
    with capture_logs() as lines:
        left.wait(LEDGER, "refused")
        del left
        clock(3)
        hasty().wait(LEDGER, "refused")
    assert [line["seconds"] for line in lines] == [0, 0]
