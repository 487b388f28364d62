"""Signatures, compared with botocore's for the same requests."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore import auth
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from fakesweep.workers.fetch.sigv4 import encoded, signed_headers

MOMENT = datetime(2026, 11, 20, 17, 48, 32, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    key=TEXTS,
    origin=st.sampled_from(["https://bucket.s3.eu-west-1.amazonaws.com", "http://[::1]:9000/b"]),
    secret=TEXTS,
    token=st.sampled_from([None, "a+token/=="]),
    version=st.none() | TEXTS,
)
def test_a_request_is_signed_as_botocore_signs_it(
    key: str, origin: str, secret: str, token: str | None, version: str | None
) -> None:
    keys = Credentials("AKIA/1", secret, token).get_frozen_credentials()
    url = f"{origin}/{encoded(key)}"
    query = "" if version is None else f"versionId={quote(version, safe='')}"
    request = AWSRequest("GET", f"{url}?{query}" if query else url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: MOMENT)
        S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    host, _, path = url.partition("://")[2].partition("/")
    expected = {"host": host} | {name.lower(): value for name, value in request.headers.items()}
    at = MOMENT.timetuple()
    assert signed_headers(host, f"/{path}", "eu-west-1", keys, at, query=query) == expected


@pytest.mark.parametrize(
    ("key", "path"),
    [("a//b", "a//b"), ("/a", "/a"), ("a/../b", "a/../b"), ("./a/", "./a/"), ("%2F", "%252F"),
     ("a b+c#?&", "a%20b%2Bc%23%3F%26"), ("\u65e5\n", "%E6%97%A5%0A"), ("~a.b_c-d", "~a.b_c-d")],
)  # fmt: skip
def test_no_byte_of_a_key_is_lost(key: str, path: str) -> None:
    assert encoded(key) == path
