"""Egress guard: admits public addresses and allowed networks over HTTP, and allowed buckets."""

import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urljoin

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.connection import allowed_gai_family

from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.net.storage import one_line
from fakesweep.schema.uris import normalise

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings

Networks = tuple[IPv4Network | IPv6Network, ...]

_NOT_PUBLIC: Networks = tuple(
    map(
        ip_network,
        [
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        ],
    )
)  # fmt: skip
"""IANA's special-purpose blocks that are not globally reachable, with Teredo and 6to4."""

_GLOBAL_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_METADATA = frozenset(
    map(
        ip_address,
        [
            "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16",
            "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
            "fe80::a9fe:a9fe",
        ],
    )
)  # fmt: skip
"""Addresses of cloud credentials, which only their own exact network admits."""


class AddressRefused(HTTPError):  # noqa: N818 - says what happened
    """A host without an admitted address; a retry does not help."""


def admits(address: str, allowed: Networks) -> bool:
    """Return whether a numeric address is public or in an allowed network."""
    found = ip_address(address)
    reached = _embedded(found) if isinstance(found, IPv6Address) else found
    if reached in _METADATA:
        return any(reached in network and network.num_addresses == 1 for network in allowed)
    if any(place in network for network in allowed for place in (found, reached)):
        return True
    if isinstance(reached, IPv6Address) and reached not in _GLOBAL_IPV6:
        return False
    return not any(reached in network for network in _NOT_PUBLIC)


def admits_bucket(bucket: str, settings: "Settings") -> bool:
    """Return whether a bucket may be listed and read."""
    return not settings.buckets or bucket in settings.buckets


def redirected(url: str, location: str) -> str:
    """Return the target of a redirect, from its header `Location`.

    Raises:
        InvalidUri: it is malformed, or holds credentials.
    """
    # Headers arrive as Latin-1; servers that do not percent-encode send UTF-8.
    written = quote(location.encode("latin-1", "replace"), safe="%/:?#[]@!$&'()*+,;=~")
    try:
        return normalise(urljoin(url, written))
    except ValueError as error:
        raise InvalidUri("it cannot be read") from error


def open_pools(
    settings: "Settings",
    watch: Callable[[socket.socket], None] = lambda _: None,
    **options: Any,
) -> PoolManager:
    """Return connection pools that reach admitted addresses only; none is opened yet.

    Each connection resolves its host once, checks the addresses and connects to an admitted one, so
    a second DNS answer has no effect. Certificates are verified against the host name. No proxy is
    used.

    Args:
        settings: The allowed networks beside the public ones.
        watch: Receives each new connection before TLS.
        options: Keyword arguments of `PoolManager`.
    """

    class Connection(_Guarded):
        allowed = settings.allow_networks

        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            watch(connection)
            return connection

    class TlsConnection(Connection, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    # urllib3's warnings hold whole URLs, with secrets in their queries.
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pools = PoolManager(**options)
    pools.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}
    return pools


class _Guarded(HTTPConnection):
    """A connection to an admitted address, under the host name of its URL."""

    allowed: ClassVar[Networks] = ()

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, place in self._admitted():
            try:
                return self._connected(socket.socket(family, kind, protocol), place)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"no connection in {self.timeout} s") from failure
        raise NewConnectionError(self, f"no connection: {failure}") from failure

    def _admitted(self) -> list[tuple[Any, ...]]:
        """Resolve the host, and return its admitted addresses as `socket` does."""
        try:
            found = socket.getaddrinfo(
                self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        admitted = [answer for answer in found if admits(str(answer[4][0]), self.allowed)]
        if not admitted:
            raise AddressRefused(
                f"{one_line(self.host)} leads to an address that is not public, which is refused "
                f"(FAKESWEEP_ALLOW_NETWORKS)"
            )
        return admitted

    def _connected(self, connection: socket.socket, place: Any) -> socket.socket:
        try:
            for option in self.socket_options or ():
                connection.setsockopt(*option)
            connection.settimeout(self.timeout)
            connection.connect(place)
        except BaseException:
            connection.close()
            raise
        return connection


def _embedded(address: IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one embeds, else the address itself."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
