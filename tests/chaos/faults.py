"""Registry of faults, their weights, and the schedule of a seed."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster

LIMIT_SECONDS = 60.0
"""Promised recovery time after a fault's end."""


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule; `draw` supplies all of its random choices."""

    number: int
    kind: str
    gap_seconds: float
    overlaps: bool
    draw: random.Random = field(compare=False)


@dataclass(frozen=True)
class Injected:
    """A finished fault; `recovered` returns whether work has recovered from it.

    `complaint` returns, after recovery, a further broken promise or None.
    """

    target: str
    recovered: Callable[[], bool]
    limit_seconds: float = LIMIT_SECONDS
    detail: str = ""
    complaint: Callable[[], str | None] = lambda: None


Inject = Callable[[Cluster, random.Random], Injected]


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and its number in each bag that schedules are drawn from."""

    inject: Inject
    share: int
    once: bool = False


KINDS: dict[str, Kind] = {}


def fault(share: int, *, once: bool = False) -> Callable[[Inject], Inject]:
    """Register a function as a kind of fault; `once` limits it to one a run."""

    def named(inject: Inject) -> Inject:
        KINDS[inject.__name__] = Kind(inject, share, once)
        return inject

    return named


def schedule(seed: int, faults: int, overlap: float, only: Sequence[str] = ()) -> Iterator[Fault]:
    """Yield the faults of a seed; independent of the run's events."""
    chance = random.Random(seed)
    kinds = _kinds(chance, only)
    for number in range(1, faults + 1):
        yield Fault(
            number,
            next(kinds),
            gap_seconds=chance.uniform(0.5, 3.0),
            overlaps=chance.random() < overlap,
            draw=random.Random(f"{seed}/{number}"),
        )


def _kinds(chance: random.Random, only: Sequence[str]) -> Iterator[str]:
    """Yield kinds without end: shuffled bags, one after another."""
    is_first = True
    while True:
        bag = [
            name
            for name, kind in sorted(KINDS.items())
            if not only or name in only
            for _ in range(kind.share)
            if is_first or not kind.once
        ]
        chance.shuffle(bag)
        if is_first:  # gives a short run the most kinds
            each = list(dict.fromkeys(bag))
            for name in each:
                bag.remove(name)
            yield from each
        yield from bag
        is_first = False
