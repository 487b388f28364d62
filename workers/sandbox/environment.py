"""What a loader process learns of our environment: what fetching and decoding need, and no more."""

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
"""Their letters may be small. Of all that is fetched, only requests to S3 go through a proxy."""


def first_environment() -> dict[str, str]:
    """Return what a loader starts with: no setting of ours, no password, token or key."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _NEEDED or name.startswith("LC_")
    }


def s3_environment() -> dict[str, str]:
    """Return what boto3 reads: keys, profile, region and proxies; told with the first S3 image."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name.upper() in _S3_NEEDED
    }
