from concurrent.futures import ThreadPoolExecutor

from fakesweep.workers.pipeline.score_cache import ScoreCache, ScoreKey

A, B, C = ((name * 32, 1) for name in (b"a", b"b", b"c"))


def test_only_what_is_there_is_found() -> None:
    recent = ScoreCache()
    recent.remember({A: (0.25, 0.75), B: (0.5, 0.5)})
    assert recent.find([C, A, (A[0], 2)]) == {A: (0.25, 0.75)}
    assert recent.find([]) == {}
    assert ScoreCache().find([A]) == {}


def test_the_newest_are_kept() -> None:
    recent = ScoreCache(kept=2)
    recent.remember({A: (0.1,)})
    recent.remember({B: (0.2,), C: (0.3,)})
    assert recent.find([A, B, C]) == {B: (0.2,), C: (0.3,)}
    recent.remember({(bytes([number]) * 32, 1): (0.0,) for number in range(10)})
    assert recent.find([B, C]) == {}
    assert len(recent.find((bytes([number]) * 32, 1) for number in range(10))) == 2


def test_many_threads_may_remember_and_find_at_once() -> None:
    recent = ScoreCache(kept=50)

    def work(thread: int) -> int:
        found = 0
        for number in range(500):
            key: ScoreKey = (f"{thread}-{number}".encode(), 1)
            recent.remember({key: (float(number),)})
            found += len(recent.find([key]))
        return found

    with ThreadPoolExecutor(4) as threads:
        assert all(found > 0 for found in threads.map(work, range(4)))
    assert len(recent._scores) == 50
