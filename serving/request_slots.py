"""Request slots: requests in progress of each token, of all tokens, and of strangers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TypeVar

from fakesweep.serving.problems import Problem, ProblemCode, away

MOST_AT_ONCE = 256
"""Most requests with a valid token; each may hold a body of 1 MiB."""

MOST_FOR_TOKEN = 32
WAIT_SECONDS = 1.0
"""Wait for a slot of the token; a refusal takes this time, too."""

MOST_STRANGERS = 256
MOST_STRANGERS_FOR_ADDRESS = 64


Key = TypeVar("Key", bytes, str)


class RequestSlots:
    """Counts requests in progress; strangers, who show no valid token, have slots of their own."""

    def __init__(self) -> None:
        self._tokens: dict[bytes, asyncio.Semaphore] = {}
        self._asking: Counter[bytes] = Counter()
        self._addresses: Counter[str] = Counter()
        self.proven = 0

    @asynccontextmanager
    async def of_token(self, digest: bytes) -> AsyncIterator["RequestSlot"]:
        """Take a slot of a token, valid or not, after a short wait where none is free.

        Raises:
            Problem: no slot became free.
        """
        places = self._tokens.setdefault(digest, asyncio.Semaphore(MOST_FOR_TOKEN))
        try:
            with _counted(self._asking, digest):
                await _acquired(places)
                place = RequestSlot(self, places)
                try:
                    yield place
                finally:
                    place.give_back()
        finally:
            if not self._asking[digest]:
                self._tokens.pop(digest, None)

    @contextmanager
    def of_stranger(self, address: str) -> Iterator[None]:
        """Take a slot of those without a valid token.

        Raises:
            Problem: none is free in all, or for this address.
        """
        is_full = self._addresses.total() >= MOST_STRANGERS
        if is_full or self._addresses[address] >= MOST_STRANGERS_FOR_ADDRESS:
            raise _overloaded()
        with _counted(self._addresses, address):
            yield


class RequestSlot:
    """A slot of one token, and after its validation one of all valid tokens."""

    def __init__(self, counted: RequestSlots, of_token: asyncio.Semaphore) -> None:
        self._counted = counted
        self._of_token = of_token
        self._is_taken = True
        self._is_proven = False

    def prove(self) -> None:
        """Take a slot of all valid tokens, too.

        Raises:
            Problem: none is free.
        """
        if self._counted.proven >= MOST_AT_ONCE:
            raise _overloaded()
        self._is_proven = True
        self._counted.proven += 1

    @asynccontextmanager
    async def left(self) -> AsyncIterator[None]:
        """Release both slots for a while: a waiting request needs none."""
        was_proven = self._is_proven
        self.give_back()
        yield
        await self._of_token.acquire()
        self._is_taken = True
        if was_proven:
            self._is_proven = True
            self._counted.proven += 1

    def give_back(self) -> None:
        """Release both slots."""
        if self._is_taken:
            self._of_token.release()
        if self._is_proven:
            self._counted.proven -= 1
        self._is_taken = self._is_proven = False


async def _acquired(places: asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            ProblemCode.TOO_MANY_AT_ONCE,
            f"{MOST_FOR_TOKEN} requests with this token are under way; let some end first",
            headers={"Retry-After": "1"},
        ) from None


@contextmanager
def _counted(counts: "Counter[Key]", key: Key) -> Iterator[None]:
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def _overloaded() -> Problem:
    return away("too much is asked at once; ask again later", code=ProblemCode.OVERLOADED)
