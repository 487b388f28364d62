"""AWS Signature Version 4 of a GET without a body."""

import hashlib
import hmac
import time
from urllib.parse import quote

from botocore.credentials import ReadOnlyCredentials

_NO_BODY = hashlib.sha256(b"").hexdigest()


def encoded(key: str) -> str:
    """Return a key percent-encoded for a request's path."""
    return quote(key)


def signed_headers(
    host: str,
    path: str,
    region: str,
    credentials: ReadOnlyCredentials,
    at: time.struct_time,
    *,
    query: str = "",
    request_payer: str | None = None,
) -> dict[str, str]:
    """Return the headers of a GET, with its signature.

    Args:
        host: The host, with its port where that is not the scheme's default.
        path: The path, percent-encoded.
        region: The region of the bucket.
        credentials: The keys to sign with, and their session token.
        at: The current time in UTC.
        query: The query, percent-encoded; at most one name and value.
        request_payer: The payer, where the bucket's owner does not pay.

    Source: the chapter "Authenticating Requests (AWS Signature Version 4)" of Amazon's S3 API
    reference.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", at)
    signed = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    if request_payer:
        signed["x-amz-request-payer"] = request_payer
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_NO_BODY}"
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{credentials.secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{credentials.access_key}/{scope}"
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return {**signed, "authorization": authorization}
