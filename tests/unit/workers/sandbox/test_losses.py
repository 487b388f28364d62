import signal

import pytest

from fakesweep.schema.failures import FailureCode, ImageFailure
from fakesweep.schema.message import BatchImage
from fakesweep.workers.sandbox.losses import (
    KILLED_PAUSES_SECONDS,
    Cause,
    LoaderLost,
    Trials,
    cause_of_end,
)

CHUNK = [BatchImage(number, f"file:///{number}.jpg") for number in range(4)]


def lost(cause: Cause, number: int | None = None) -> LoaderLost:
    found = LoaderLost("the loader ended", cause)
    found.number = number
    return found


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (-signal.SIGXCPU, Cause.PROCESSOR_TIME),
        (-signal.SIGKILL, Cause.KILLED),
        (-signal.SIGSEGV, Cause.BROKEN),
        (-signal.SIGABRT, Cause.BROKEN),
        (-signal.SIGBUS, Cause.BROKEN),
        (1, Cause.BROKEN),
        (0, Cause.BROKEN),
    ],
)
def test_how_a_loader_ended_says_why(status: int, cause: Cause) -> None:
    assert cause_of_end(status) is cause


@pytest.mark.parametrize("cause", [Cause.PROCESSOR_TIME, Cause.BUSY])
def test_an_image_that_takes_its_time_fails_at_once_and_its_neighbours_go_on_together(
    cause: Cause,
) -> None:
    trials = Trials()
    assert trials.next(CHUNK) == CHUNK
    found = trials.blame(lost(cause, 2), CHUNK, CHUNK[1:])
    assert found is not None
    assert (found[0], found[1].code) == (CHUNK[2], FailureCode.DECODE_TIMED_OUT)
    left = [CHUNK[1], CHUNK[3]]
    assert trials.next(left) == left


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (Cause.BROKEN, FailureCode.CORRUPT),
        (Cause.STANDING_STILL, FailureCode.DECODE_TIMED_OUT),
    ],
)
def test_an_image_that_may_be_to_blame_is_tried_last_and_alone(
    cause: Cause, code: FailureCode
) -> None:
    trials = Trials()
    assert trials.blame(lost(cause, 0), CHUNK, CHUNK) is None
    assert trials.next(CHUNK) == CHUNK[1:]
    assert trials.next(CHUNK[:1]) == CHUNK[:1]
    found = trials.blame(lost(cause, 0), CHUNK[:1], CHUNK[:1])
    assert found is not None
    assert (found[0], found[1].code) == (CHUNK[0], code)


def test_a_loader_that_is_killed_is_nobodys_fault_until_that_goes_on_alone_after_pauses() -> None:
    trials = Trials()
    pauses = []
    found: tuple[BatchImage, ImageFailure] | None = None
    trials.next(CHUNK)
    found = trials.blame(lost(Cause.KILLED, 1), CHUNK, CHUNK)
    while found is None:
        assert trials.next(CHUNK[1:2]) == CHUNK[1:2]
        pauses.append(trials.pause_seconds)
        found = trials.blame(lost(Cause.KILLED, 0), CHUNK[1:2], CHUNK[1:2])
    assert pauses == list(KILLED_PAUSES_SECONDS)
    assert (found[0], found[1].code) == (CHUNK[1], FailureCode.KILLED_LOADER)


@pytest.mark.parametrize("cause", list(Cause))
def test_what_is_lost_while_it_was_fetched_is_never_called_broken(cause: Cause) -> None:
    trials = Trials()
    assert trials.blame(lost(cause), CHUNK, CHUNK) is None
    assert trials.next(CHUNK) == CHUNK, "together once more"
    assert trials.blame(lost(cause), CHUNK, CHUNK) is None
    assert trials.next(CHUNK) == CHUNK[:1], "then alone"
    found = None
    while found is None:
        found = trials.blame(lost(cause), CHUNK[:1], CHUNK[:1])
    is_late = cause in (Cause.BUSY, Cause.STANDING_STILL)
    expected = FailureCode.TIMED_OUT if is_late else FailureCode.UNAVAILABLE
    assert found[1].code is (FailureCode.KILLED_LOADER if cause is Cause.KILLED else expected)


def test_neighbours_of_an_image_that_waits_for_memory_do_not_wait() -> None:
    trials = Trials()
    trials.blame(lost(Cause.KILLED, 1), CHUNK, CHUNK)
    trials.next([CHUNK[0], CHUNK[1], CHUNK[2]])
    assert trials.pause_seconds == 0
