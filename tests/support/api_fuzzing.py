"""Hooks for schemathesis beyond the OpenAPI document."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from fakesweep.producer.api.long_poll import MOST_SECONDS as MOST

SHAPES = (
    "s3://uploads/{}.jpg",
    "s3://up.loads-2026/a folder/ä#?{}%.png",
    "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:up/{}",
    "s3://uploads/\n{}\t",
    "https://images.example/{}",
    "https://images.example:8443/a/../b%20c/{}.jpg?signature=%2F&x=1#part",
    "http://192.0.2.7/{}",
    "http://[2001:db8::7]:80/{}",
    "https://bücher.example?{}",
)
"""Strategy of image URIs with random numbers."""

schemathesis.openapi.format(
    "image-uri",
    st.builds(str.format, st.sampled_from(SHAPES), st.integers(0, 999_999)),
)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Request no wait for verdicts, since no worker runs."""
    if str((case.query or {}).get("wait", "")).isdigit() and 0 < int(case.query["wait"]) <= MOST:
        case.query["wait"] = 1


@schemathesis.hook
def filter_failure(_context: Any, _failure: Any, _case: Any, response: Any) -> bool:
    """Ignore the correct refusal of a repeated idempotency key."""
    return b'"code":"key_conflict"' not in response.content
