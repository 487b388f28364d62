"""The connections of an API process: how many there may be, and which ends when there are more."""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Protocol

import structlog

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_CONNECTIONS = 1_024
MOST_STRANGERS_FOR_ADDRESS = 512
"""Connections from one address on which no valid token was shown; IPv6 counts by /64."""

GRACE_SECONDS = 2.0
"""Before that a connection ends for another only where nobody else can."""

LOOK_SECONDS = 0.5
TELL_SECONDS = 60.0
"""Connections that were ended are told of at most so often, together."""

IPV4 = 4
_IPV6_PREFIX = 64

log = structlog.get_logger(__name__)


class Held(Protocol):
    """A connection as its keeper sees it."""

    address: str
    since: float
    is_leaving: bool

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""

    def end(self) -> None:
        """End it at once."""

    def overdue(self, now: float) -> str | None:
        """Return what it has been waited for too long, if anything."""


class Connections:
    """Keeps all connections below a bound, and strangers from the places of those with a token.

    A stranger is a connection on which no valid token was shown yet. Where there are too many, of
    one address or in all, one that was answered already ends, or else the one that has been silent
    longest. Trusted proxies are no strangers: behind their connections is everybody.
    """

    def __init__(self, most: int, trusted: Sequence[Network] = ()) -> None:
        self._most = most
        self._trusted = trusted
        self._strangers: dict[str, dict[Held, None]] = {}
        self._known: dict[Held, None] = {}
        self._ended: dict[str, int] = {}
        self._told_at = float("-inf")

    def __len__(self) -> int:
        return len(self._known) + sum(map(len, self._strangers.values()))

    def add(self, connection: Held) -> bool:
        """Take a new connection in, and return whether there is a place for it."""
        group = group_of(connection.address)
        is_stranger = not self._is_trusted(connection.address)
        beside = self._strangers.get(group, {})
        if is_stranger and len(beside) >= MOST_STRANGERS_FOR_ADDRESS:
            spared = _to_spare(beside, connection.since)
            if spared is not None:
                self._end(spared, "more of its address came")
        if len(self) >= self._most and not self.make_room():
            self._note("no place is left")
            return False
        if is_stranger:
            self._strangers.setdefault(group, {})[connection] = None
        else:
            self._known[connection] = None
        return True

    def make_room(self) -> bool:
        """End a connection that can be spared, and return whether there was one.

        That is a stranger of the address that has most, or else whoever waits idly.
        """
        group: dict[Held, None] = max(self._strangers.values(), key=len, default={})
        spared = _to_spare(group, asyncio.get_running_loop().time())
        if spared is None:
            idle = (one for one in self._known if one.is_idle)
            spared = next(idle, None) or next(iter(group), None)
        if spared is not None:
            self._end(spared, "more connections came")
        return spared is not None

    def prove(self, connection: Held) -> None:
        """Count a connection, on which a valid token was shown, as no stranger's any more."""
        if self.is_stranger(connection):
            self.remove(connection)
            self._known[connection] = None

    def is_stranger(self, connection: Held) -> bool:
        """Return whether no valid token was shown on a connection yet."""
        return connection in self._strangers.get(group_of(connection.address), ())

    def remove(self, connection: Held) -> None:
        """Forget a connection that ended."""
        self._known.pop(connection, None)
        group = group_of(connection.address)
        strangers = self._strangers.get(group, {})
        strangers.pop(connection, None)
        if not strangers:
            self._strangers.pop(group, None)

    async def watch(self) -> None:
        """End every connection that is overdue, and go on looking until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = asyncio.get_running_loop().time()
            for group in [self._known, *self._strangers.values()]:
                for connection in list(group):
                    if reason := connection.overdue(now):
                        self._end(connection, reason)
            self._tell(now)

    def _end(self, connection: Held, reason: str) -> None:
        self.remove(connection)
        connection.end()
        self._note(reason)

    def _note(self, reason: str) -> None:
        self._ended[reason] = self._ended.get(reason, 0) + 1

    def _tell(self, now: float) -> None:
        if self._ended and now - self._told_at >= TELL_SECONDS:
            log.warning("connections_ended", reasons=self._ended, connections=len(self))
            self._ended, self._told_at = {}, now

    def _is_trusted(self, address: str) -> bool:
        return bool(self._trusted) and any(_read(address) in one for one in self._trusted)


def _to_spare(group: dict[Held, None], now: float) -> Held | None:
    """Return who of a group, oldest first, is to end for another that came now."""
    settled = [one for one in group if now - one.since > GRACE_SECONDS]
    return next((one for one in settled if one.is_leaving), settled[0] if settled else None)


def group_of(address: str) -> str:
    """Return what an address is counted by: itself, or its /64, which is what one site has."""
    try:
        found = _read(address)
    except ValueError:
        return address
    if found.version == IPV4:
        return str(found)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its interface; an IPv4 one that is written as IPv6, as itself."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found
