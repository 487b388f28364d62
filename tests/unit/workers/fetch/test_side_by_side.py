import threading

import pytest

from fakesweep.schema.failures import FetchTimedOut, ImageFailure, SourceUnavailable
from fakesweep.workers.fetch.side_by_side import SideBySide

HASTY, PATIENT = 0.2, 60.0


def found_of(fetches: SideBySide, uris: list[str]) -> dict[int, bytes | ImageFailure]:
    """Fetch these with all threads."""
    found: dict[int, bytes | ImageFailure] = {}
    left = list(enumerate(uris))
    while left or not fetches.is_idle:
        while left and not fetches.is_full:
            fetches.start(*left.pop(0))
        number, one = fetches.next_found()
        found[number] = one
    return found


def test_each_image_is_found_by_its_number_whatever_fetching_raises() -> None:
    def fetch(uri: str) -> bytes:
        match uri:
            case "refused":
                raise SourceUnavailable("no")
            case "broken":
                raise ValueError("what a\nlibrary says")
            case "large":
                raise MemoryError
        return uri.encode()

    found = found_of(SideBySide(fetch, 2, PATIENT), ["a", "refused", "b", "broken", "large", "c"])
    assert {number: found[number] for number in (0, 2, 5)} == {0: b"a", 2: b"b", 5: b"c"}
    assert str(found[1]) == "no"
    assert str(found[3]) == "fetching raised ValueError: what a library says"
    assert "no memory" in str(found[4])


def test_no_more_are_fetched_at_once_than_there_are_threads() -> None:
    together = threading.Barrier(3)

    def fetch(uri: str) -> bytes:
        together.wait(20)
        return uri.encode()

    assert len(found_of(SideBySide(fetch, 3, PATIENT), list("abcdef"))) == 6
    assert not together.broken


def test_a_fetch_that_never_ends_is_abandoned_at_its_deadline_and_delays_no_other() -> None:
    let_go = threading.Event()

    def fetch(uri: str) -> bytes:
        if uri.startswith("silent"):
            let_go.wait(60)
        return uri.encode()

    fetches = SideBySide(fetch, 2, HASTY)
    found = found_of(fetches, ["silent 1", "silent 2", "a", "silent 3", "b", "c"])
    let_go.set()
    for number in (0, 1, 3):
        assert isinstance(found[number], FetchTimedOut)
        assert "not whole within 0.2 s" in str(found[number])
    assert [found[number] for number in (2, 4, 5)] == [b"a", b"b", b"c"]
    assert fetches.left_alone == 3


def test_an_answer_that_comes_too_late_is_taken_for_no_other_image() -> None:
    let_go, answered = threading.Event(), threading.Event()

    def fetch(uri: str) -> bytes:
        if uri == "late":
            let_go.wait(60)
            answered.set()
        return uri.encode()

    fetches = SideBySide(fetch, 1, HASTY)
    assert isinstance(found_of(fetches, ["late"])[0], FetchTimedOut)
    let_go.set()
    assert answered.wait(20)
    assert found_of(fetches, ["next"]) == {0: b"next"}


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_are_started_as_they_are_needed_and_kept(threads: int) -> None:
    names: set[int] = set()

    def fetch(uri: str) -> bytes:
        names.add(threading.get_ident())
        return uri.encode()

    fetches = SideBySide(fetch, threads, PATIENT)
    for _ in range(3):
        found_of(fetches, [str(number) for number in range(20)])
    assert len(names) <= threads
