import time
from collections.abc import Iterator
from itertools import count

import pytest

from fakesweep.schema.failures import AccessDenied, FetchTimedOut, SourceUnavailable
from fakesweep.schema.net.storage import pause_asked_for
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import retry
from fakesweep.workers.fetch.retry import Deadline, Transient, with_attempts


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def reads() -> Iterator[int]:
    return iter(count(1))


def test_a_transient_failure_is_tried_again(reads: Iterator[int]) -> None:
    def read(_: Deadline) -> bytes:
        if next(reads) < 3:
            raise Transient(SourceUnavailable("busy"))
        return b"image"

    assert with_attempts(read, read_settings()) == b"image"


def test_the_last_attempt_says_what_it_came_to(
    reads: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "3")

    def read(_: Deadline) -> bytes:
        next(reads)
        raise Transient(FetchTimedOut("silence"))

    with pytest.raises(FetchTimedOut, match=r"^silence \(3 attempts\)$"):
        with_attempts(read, read_settings())
    assert next(reads) == 4


def test_a_final_failure_is_not_tried_again(reads: Iterator[int]) -> None:
    def read(_: Deadline) -> bytes:
        next(reads)
        raise AccessDenied("no")

    with pytest.raises(AccessDenied, match=r"^no$"):
        with_attempts(read, read_settings())
    assert next(reads) == 2


def test_no_attempt_starts_after_the_deadline(
    reads: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESWEEP_FETCH_DEADLINE_SECONDS", "0.1")

    def read(_: Deadline) -> bytes:
        next(reads)
        raise Transient(SourceUnavailable("come back later"), pause_seconds=5)

    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"^come back later$"):
        with_attempts(read, read_settings())
    assert next(reads) == 2
    assert time.monotonic() - started < 4


def test_a_pause_asked_for_is_kept_and_bounded() -> None:
    asked = Transient(SourceUnavailable("busy"), pause_seconds=7)
    assert retry._pause_seconds(asked, 1) == 7
    endless = Transient(SourceUnavailable("busy"), pause_seconds=86_400)
    assert retry._pause_seconds(endless, 1) == retry.LONGEST_PAUSE_SECONDS


def test_pauses_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 1.0)
    busy = Transient(SourceUnavailable("busy"))
    for attempt, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (40, retry.LONGEST_PAUSE_SECONDS)):
        pauses = {retry._pause_seconds(busy, attempt) for _ in range(20)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("12", 12), (" 3 ", 3), ("soon", None), ("", None), ("-4", None),
     ("9" * 400, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert pause_asked_for(header) == seconds
