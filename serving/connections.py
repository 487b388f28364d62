"""Connections of an API process: bounded in number, with a rule for which one is closed."""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Protocol

import structlog

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_CONNECTIONS = 1_024
MOST_STRANGERS_FOR_ADDRESS = 512
"""Connections without a valid token from one address; IPv6 counts by /64."""

GRACE_SECONDS = 2.0
"""Age from which a connection may be closed for another one."""

LOOK_SECONDS = 0.5
LOG_SECONDS = 60.0
"""Interval of the log line on closed connections."""

IPV4 = 4
_IPV6_PREFIX = 64

log = structlog.get_logger(__name__)


class Held(Protocol):
    """A connection as `Connections` sees it."""

    address: str
    since: float
    is_leaving: bool

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""

    def end(self) -> None:
        """Close it at once."""

    def overdue(self, now: float) -> str | None:
        """Return the deadline that the connection has missed, if any."""


class Connections:
    """Bounds the number of connections, and reserves places for those with a valid token.

    A stranger is a connection without a valid token so far. Beyond the bound for strangers, of one
    address or in all, an answered one is closed first, else the one that has been silent longest.
    Trusted proxies are no strangers, as every caller is behind them.
    """

    def __init__(self, most: int, trusted: Sequence[Network] = ()) -> None:
        self._most = most
        self._trusted = trusted
        self._strangers: dict[str, dict[Held, None]] = {}
        self._known: dict[Held, None] = {}
        self._ended: dict[str, int] = {}
        self._logged_at = float("-inf")

    def __len__(self) -> int:
        return len(self._known) + sum(map(len, self._strangers.values()))

    def add(self, connection: Held) -> bool:
        """Add a new connection, and return whether there is a place for it."""
        group = group_of(connection.address)
        is_stranger = not self._is_trusted(connection.address)
        beside = self._strangers.get(group, {})
        if is_stranger and len(beside) >= MOST_STRANGERS_FOR_ADDRESS:
            spared = _expendable(beside, connection.since)
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
        """Close one connection to make room, and return whether there was one.

        It is a stranger of the address with most connections, else an idle connection.
        """
        group: dict[Held, None] = max(self._strangers.values(), key=len, default={})
        spared = _expendable(group, asyncio.get_running_loop().time())
        if spared is None:
            idle = (one for one in self._known if one.is_idle)
            spared = next(idle, None) or next(iter(group), None)
        if spared is not None:
            self._end(spared, "more connections came")
        return spared is not None

    def prove(self, connection: Held) -> None:
        """Mark a connection as no stranger, after a valid token."""
        if self.is_stranger(connection):
            self.remove(connection)
            self._known[connection] = None

    def is_stranger(self, connection: Held) -> bool:
        """Return whether a connection has shown no valid token yet."""
        return connection in self._strangers.get(group_of(connection.address), ())

    def remove(self, connection: Held) -> None:
        """Remove a closed connection."""
        self._known.pop(connection, None)
        group = group_of(connection.address)
        strangers = self._strangers.get(group, {})
        strangers.pop(connection, None)
        if not strangers:
            self._strangers.pop(group, None)

    async def watch(self) -> None:
        """Close every overdue connection, in a loop until cancelled."""
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
        if self._ended and now - self._logged_at >= LOG_SECONDS:
            log.warning("connections_ended", reasons=self._ended, connections=len(self))
            self._ended, self._logged_at = {}, now

    def _is_trusted(self, address: str) -> bool:
        return bool(self._trusted) and any(_read(address) in one for one in self._trusted)


def _expendable(group: dict[Held, None], now: float) -> Held | None:
    """Return the connection of a group, oldest first, to close for a new one."""
    settled = [one for one in group if now - one.since > GRACE_SECONDS]
    return next((one for one in settled if one.is_leaving), settled[0] if settled else None)


def group_of(address: str) -> str:
    """Return the group of an address: itself, or for IPv6 its /64, the network of one site."""
    try:
        found = _read(address)
    except ValueError:
        return address
    if found.version == IPV4:
        return str(found)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address without its interface; an IPv4-mapped IPv6 address becomes IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found
