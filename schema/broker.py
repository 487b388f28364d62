"""Broker URLs: validated, displayed, and translated for Redis clients."""

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

DEFAULT_PORT = 6379

_WRITE = (
    "write redis://:password@host:6379/0, rediss://… for TLS, or redis+socket:///path/to/socket; "
    "amqp, sentinel and the rest are not spoken"
)
_ENCODE = "in a user's name or password write / as %2F, # as %23, ? as %3F and @ as %40"
_SOCKETS = ("redis+socket", "unix")
_TLS_WORDS = {
    "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname",
}  # fmt: skip
_CERT_REQS = ("required", "optional", "none")
_HIGHEST_PORT = 65_535


def checked(url: str) -> str:
    """Return the URL in kombu's form.

    Raises:
        ValueError: it names no Redis server; the message repeats nothing of it.
    """
    scheme, is_url, rest = url.partition("://")
    scheme = scheme.lower()
    if not is_url or scheme not in ("redis", "rediss", *_SOCKETS):
        raise ValueError(f"it is no URL of a Redis server; {_WRITE}")
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("it holds white space or control characters; percent-encode them")
    rest = re.sub(r"\b(ssl_cert_reqs=)CERT_(\w+)", lambda said: said[1] + said[2].lower(), rest)
    if "#" in rest:
        raise ValueError(f"it holds a #; {_ENCODE}")
    address, _, query = rest.partition("?")
    authority, _, path = address.partition("/")
    if "@" in path or "@" in query or authority.count("@") > 1:
        raise ValueError(f"it holds an @ where none belongs; {_ENCODE}")
    who, _, server = authority.rpartition("@")
    if not authority.isascii() or re.search(r"[\[\]]", who):
        raise ValueError("percent-encode what is no ASCII character, [ as %5B and ] as %5D")
    words = _words(query)
    if scheme in _SOCKETS:
        return _socket(who, server, path, words)
    _check_host(server)
    if not re.fullmatch(r"\d*", path, re.ASCII):
        raise ValueError(f"behind the host belongs the number of a database, as /0; {_ENCODE}")
    _check_tls(scheme, words)
    return f"{scheme}://{rest}"


def shown(url: str) -> str:
    """Return the broker's address without credentials, for people and logs."""
    parts = urlsplit(url)
    if parts.scheme in _SOCKETS:
        return f"{parts.scheme}://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host or 'localhost'}:{parts.port or DEFAULT_PORT}{parts.path}"


def client_url(url: str) -> str:
    """Return a checked URL in redis-py's form, which spells sockets unlike kombu."""
    scheme, _, rest = url.partition("://")
    if scheme != "redis+socket":
        return url
    address, _, query = rest.partition("?")
    number = _words(query).get("virtual_host", "0")
    return f"unix://{address}?db={number}"


def _words(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError(f"what stands behind its ? cannot be read; {_ENCODE}") from None


def _socket(who: str, host: str, path: str, words: dict[str, str]) -> str:
    number = words.pop("virtual_host", words.pop("db", "0"))
    if host or not path or words or not re.fullmatch(r"\d+", number, re.ASCII):
        raise ValueError(
            "a socket is written redis+socket:///path/to/socket?virtual_host=0, a password before "
            "its path as in redis+socket://:password@/path/to/socket"
        )
    start = f"{who}@" if who else ""
    place = quote(path, safe="/%")
    return f"redis+socket://{start}/{place}?" + urlencode({"virtual_host": number})


def _check_host(server: str) -> None:
    name, _, port = server.rpartition(":") if re.search(r":[^\]]*$", server) else (server, "", "")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise ValueError(f"its port is no number below 65536; {_ENCODE}")
    if not re.fullmatch(r"[\w.-]*|\[[0-9A-Fa-f:.]+\]", name):
        raise ValueError(f"its host cannot be read; {_ENCODE}")


def _check_tls(scheme: str, words: dict[str, str]) -> None:
    unknown = words.keys() - _TLS_WORDS
    if unknown & {"password", "username", "user"}:
        raise ValueError("user and password stand before the host, as in redis://:password@host")
    if unknown or (words and scheme != "rediss"):
        raise ValueError(
            f"behind its ? only {', '.join(sorted(_TLS_WORDS))} may stand, and for rediss:// alone"
        )
    if words.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise ValueError(f"ssl_cert_reqs is one of {', '.join(_CERT_REQS)}")
