"""Requests of boto3 whose routes are reused without it."""

from io import BytesIO

import pytest
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.credentials import Credentials
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool

from fakesweep.schema.uris import S3Address
from fakesweep.workers.fetch.s3_routes import Route, read_error, route_of

CREDENTIALS = Credentials("AKIA/1", "secret")
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA/1/20261120/eu-west-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + "0a" * 32
)


def route(
    url: str,
    pool: HTTPConnectionPool | None,
    authorization: str = SIGNED,
    key: str = "a b.jpg",
    version: str | None = None,
) -> Route | None:
    headers = HeadersDict({"Authorization": authorization.encode()})
    request = AWSPreparedRequest("GET", url, headers, None, True)  # type: ignore[arg-type]
    address = S3Address("b", key, version)
    return route_of(request, HTTPResponse(b"", pool=pool), address, CREDENTIALS)


@pytest.mark.parametrize(
    ("url", "pool", "key", "host", "folder"),
    [
        ("https://b.s3.eu-west-1.amazonaws.com/a%20b.jpg", HTTPSConnectionPool, "a b.jpg",
         "b.s3.eu-west-1.amazonaws.com", "/"),
        ("https://MINIO.example:443/sub/b/a/../%2525/", HTTPSConnectionPool, "a/../%25/",
         "minio.example", "/sub/b/"),
        ("http://[::1]:9000/b//a", HTTPConnectionPool, "/a", "[::1]:9000", "/b/"),
        ("http://minio/b/b/b/", HTTPConnectionPool, "b/b/", "minio", "/b/"),
    ],
)  # fmt: skip
def test_the_route_to_a_key_is_the_route_to_its_bucket(
    url: str, pool: type[HTTPConnectionPool], key: str, host: str, folder: str
) -> None:
    netloc = url.split("/")[2]
    name, _, port = netloc.rpartition(":") if netloc[-1].isdigit() else (netloc, "", "")
    with pool(name, int(port or pool.ConnectionCls.default_port)) as connections:
        found = route(url, connections, key=key)
        assert found == Route(connections, host, folder, "eu-west-1", CREDENTIALS)


@pytest.mark.parametrize(
    ("query", "version"), [("", None), ("?versionId=a%2Fb%2B~._-", "a/b+~._-")]
)
def test_the_route_to_a_version_is_the_route_to_its_bucket(query: str, version: str | None) -> None:
    url = f"http://minio:9000/b/a%20b.jpg{query}"
    with HTTPConnectionPool("minio", 9000) as pool:
        found = route(url, pool, version=version)
        assert found == Route(pool, "minio:9000", "/b/", "eu-west-1", CREDENTIALS)
        assert route(url, pool, version="another") is None


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS AKIA:signature",
        SIGNED.replace("/s3/", "/s3express/"),
        SIGNED.replace("HMAC-SHA256", "ECDSA-P256-SHA256"),
        SIGNED.replace("x-amz-date,", "x-amz-date;x-amz-s3session-token,"),
    ],
)
def test_other_signatures_are_left_to_boto3(authorization: str) -> None:
    with HTTPConnectionPool("minio", 9000) as pool:
        assert route("http://minio:9000/b/a%20b.jpg", pool) is not None
        assert route("http://minio:9000/b/a%20b.jpg", pool, authorization) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://minio:9000/b/a%20b.jpg?partNumber=1",
        "http://minio:9000/b/a%20b.jpg?versionId=1",
        "http://minio:9000/b/another.jpg",
        "http://minio:9000/b-a%20b.jpg",
        "http://minio:80/b/a%20b.jpg",
        "http://other:9000/b/a%20b.jpg",
        "https://minio:9000/b/a%20b.jpg",
    ],
)
def test_other_routes_are_left_to_boto3(url: str) -> None:
    with HTTPConnectionPool("minio", 9000) as pool:
        assert route(url, pool) is None
    assert route("http://minio:9000/b/a%20b.jpg", None) is None


def answer(status: int, body: bytes, **headers: str) -> BaseHTTPResponse:
    return HTTPResponse(BytesIO(body), headers=headers, status=status, preload_content=False)


def test_an_error_is_told_in_the_words_of_s3_or_else_of_http() -> None:
    told = read_error(answer(404, b"<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt;</Message>"))
    assert (told.code, told.message) == ("NoSuchKey", "a <b>")
    told = read_error(answer(503, b"<Error><Code>SlowDown</Code></Error>", **{"Retry-After": "7"}))
    assert (told.code, told.message, told.retry_after) == ("SlowDown", None, "7")
    for body in (b"<html>no XML", b"", b"<Code></Code>"):
        told = read_error(answer(502, body))
        assert (told.code, told.message) == ("502", "Bad Gateway")
    told = read_error(answer(799, b""))
    assert (told.code, told.message) == ("799", None)


@pytest.mark.parametrize(
    ("status", "code", "elsewhere"),
    [(301, "PermanentRedirect", True), (307, "TemporaryRedirect", True),
     (400, "AuthorizationHeaderMalformed", True), (400, "ExpiredToken", False),
     (403, "AccessDenied", False), (404, "NoSuchBucket", False), (503, "SlowDown", False)],
)  # fmt: skip
def test_only_another_region_or_address_leads_elsewhere(
    status: int, code: str, elsewhere: bool
) -> None:
    told = read_error(answer(status, f"<Error><Code>{code}</Code></Error>".encode()))
    assert told.leads_elsewhere is elsewhere
