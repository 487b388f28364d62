"""Environment of a loader process: only the variables that fetching and decoding need."""

import os

_NEEDED = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH",
        "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
    }
)  # fmt: skip

_S3_NEEDED = frozenset(
    {"ALL_PROXY", "BOTO_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"}
)
"""Variables of S3 requests, also in lower case; only S3 requests go through a proxy."""


def first_environment() -> dict[str, str]:
    """Return a loader's initial environment, without our settings, passwords, tokens or keys."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _NEEDED or name.startswith("LC_")
    }


def s3_environment() -> dict[str, str]:
    """Return boto3's variables: keys, profile, region, proxies; sent with the first S3 image."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name.upper() in _S3_NEEDED
    }
