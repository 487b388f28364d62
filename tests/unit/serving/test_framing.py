"""Framing of requests: unambiguous, or refused."""

import time

import h11
import pytest

from fakesweep.serving.framing import (
    BYTES_A_CHUNK,
    MOST_CHUNKS,
    MOST_HEAD_BYTES,
    Framing,
    Malformed,
)

GET = b"GET /v1/health HTTP/1.1\r\nHost: api\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\nab\ncd"[:-1]
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\na\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n"
)


def head(*lines: bytes, first: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: api", *lines]) + b"\r\n\r\n"


def pieces_of(handed_on: bytes) -> list[bytes]:
    """Return the body's pieces of one whole request, as the parser behind reads them."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(handed_on)
    assert isinstance(parser.next_event(), h11.Request)
    pieces = []
    while isinstance(event := parser.next_event(), h11.Data):
        pieces.append(bytes(event.data))
    assert isinstance(event, h11.EndOfMessage)
    assert parser.trailing_data == (b"", False)
    return pieces


def body_of(handed_on: bytes) -> bytes:
    return b"".join(pieces_of(handed_on))


@pytest.mark.parametrize("request_", [GET, SIZED, CHUNKED], ids=["none", "sized", "chunked"])
def test_a_request_is_the_same_however_it_is_cut(request_: bytes) -> None:
    for cut in range(len(request_) + 1):
        framing = Framing()
        handed_on = framing.feed(request_[:cut]) + framing.feed(request_[cut:])
        assert body_of(handed_on) == body_of(request_)
        assert framing.is_whole
        assert not framing.has_surplus
    framing = Framing()
    handed_on = b"".join(framing.feed(bytes([one])) for one in request_)
    assert body_of(handed_on) == body_of(request_)
    assert framing.is_whole


@pytest.mark.parametrize("request_", [GET, SIZED, CHUNKED], ids=["none", "sized", "chunked"])
def test_bytes_behind_a_request_are_no_part_of_it(request_: bytes) -> None:
    for cut in range(len(request_), len(request_ + GET)):
        framing, both = Framing(), request_ + GET
        handed_on = framing.feed(both[:cut]) + framing.feed(both[cut:])
        assert body_of(handed_on) == body_of(request_)
        assert framing.has_surplus


def test_requests_follow_each_other_once_each_is_answered() -> None:
    framing = Framing()
    for request_ in (GET, CHUNKED, SIZED, GET):
        assert not framing.is_begun
        assert body_of(framing.feed(request_)) == body_of(request_)
        assert framing.is_whole
        framing.next()


def test_chunks_that_come_together_are_handed_on_as_one() -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (size, b"a" * size) for size in range(1, 60))
    sent = head(b"Transfer-Encoding: chunked") + body + b"0\r\n\r\n"
    assert pieces_of(Framing().feed(sent)) == [b"a" * sum(range(1, 60))]


@pytest.mark.parametrize("size", [1, BYTES_A_CHUNK - 1, BYTES_A_CHUNK])
def test_a_body_of_chunks_that_are_too_small_is_refused(size: int) -> None:
    framing, chunk = Framing(), b"%x\r\n%b\r\n" % (size, b"a" * size)
    framing.feed(head(b"Transfer-Encoding: chunked") + chunk * MOST_CHUNKS)
    more = chunk * (MOST_CHUNKS * BYTES_A_CHUNK)
    if size >= BYTES_A_CHUNK:
        assert body_of(head(b"Transfer-Encoding: chunked") + framing.feed(more + b"0\r\n\r\n"))
        return
    with pytest.raises(Malformed, match="send more at a time"):
        framing.feed(more)


AMBIGUOUS = {
    "length and coding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding and length": head(b"transfer-encoding: chunked", b"content-length: 5"),
    "two lengths alike": head(b"Content-Length: 5", b"Content-Length: 5"),
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6"),
    "lengths in one": head(b"Content-Length: 5, 5"),
    "signed length": head(b"Content-Length: +5"),
    "negative length": head(b"Content-Length: -5"),
    "empty length": head(b"Content-Length: "),
    "hexadecimal length": head(b"Content-Length: 0x5"),
    "endless length": head(b"Content-Length: " + b"9" * 40),
    "length with underscore": head(b"Content-Length: 1_0"),
    "another coding": head(b"Transfer-Encoding: gzip"),
    "two codings": head(b"Transfer-Encoding: gzip, chunked"),
    "chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked and identity": head(b"Transfer-Encoding: chunked, identity"),
    "quoted coding": head(b'Transfer-Encoding: "chunked"'),
    "coding behind a tab": head(b"Transfer-Encoding:\x0bchunked"),
    "coding in HTTP/1.0": head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
    "space before the colon": head(b"Content-Length : 5"),
    "no colon": head(b"Content-Length"),
    "no name": head(b": 5"),
    "folded": head(b"X-A: a", b" Content-Length: 5"),
    "folded by a tab": head(b"X-A: a", b"\tb"),
    "folded first line": b"GET / HTTP/1.1\r\n Host: api\r\n\r\n",
    "NUL in a value": head(b"X-A: a\x00b"),
    "NUL in a name": head(b"X\x00: a"),
    "control in a value": head(b"X-A: a\x08b"),
    "bare LF": b"GET / HTTP/1.1\nHost: api\n\n",
    "LF in a header": head(b"X-A: a\nContent-Length: 5"),
    "CR in a header": head(b"X-A: a\rContent-Length: 5"),
    "CR CR LF": b"GET / HTTP/1.1\r\r\nHost: api\r\n\r\n",
    "blank line of LF": b"GET / HTTP/1.1\r\nHost: api\r\n\nX: y\r\n\r\n",
    "empty first line": b"\r\n" + GET,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n\r\n",
    "no ASCII in the target": b"GET /\xff HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
CHUNKS = {
    "extension": b"5;a=b\r\nabcde\r\n0\r\n\r\n",
    "extension of the last": b"0;a\r\n\r\n",
    "space behind the size": b"5 \r\nabcde\r\n",
    "LF behind the size": b"5\nabcde\r\n0\r\n\r\n",
    "no size": b"\r\nabcde\r\n",
    "signed size": b"+5\r\nabcde\r\n",
    "prefixed size": b"0x5\r\nabcde\r\n",
    "no number": b"g\r\nabcde\r\n",
    "endless size": b"0" * 64 + b"5\r\nabcde\r\n",
    "longer than its size": b"5\r\nabcdef\r\n0\r\n\r\n",
    "LF behind a chunk": b"5\r\nabcde\n0\r\n\r\n",
    "trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "LF at the end": b"0\r\n\n0000000000000000",
}


def refused(*pieces: bytes) -> Malformed:
    framing = Framing()
    try:
        for piece in pieces:
            framing.feed(piece)
    except Malformed as error:
        return error
    raise AssertionError(pieces)


@pytest.mark.parametrize(
    "sent",
    [*AMBIGUOUS.values(), *(head(b"Transfer-Encoding: chunked") + one for one in CHUNKS.values())],
    ids=[*AMBIGUOUS, *CHUNKS],
)
def test_an_ambiguous_request_is_refused_however_it_is_split(sent: bytes) -> None:
    for cut in range(len(sent)):
        assert refused(sent[:cut], sent[cut:]).status == 400


def test_headers_have_an_end() -> None:
    framing = Framing()
    with pytest.raises(Malformed) as caught:
        framing.feed(b"GET / HTTP/1.1\r\nX: " + b"a" * MOST_HEAD_BYTES)
    assert caught.value.status == 431


@pytest.mark.parametrize("piece", [1, 1_000, 100_000])
def test_work_is_in_proportion_to_what_came(piece: int) -> None:
    framing = Framing()
    sent = head(b"Transfer-Encoding: chunked") + b"10\r\n0123456789abcdef\r\n" * 20_000
    began = time.process_time()
    for at in range(0, len(sent), piece):
        framing.feed(sent[at : at + piece])
    assert time.process_time() - began < 5
