"""Requests of API tests, and their answers."""

import httpx
from sqlalchemy import text

from fakesweep.serving.problems import MEDIA_TYPE
from tests.support.api_server import Serving

ONE = {"uri": "s3://uploads/a.jpg"}


def images(serving: Serving) -> int:
    with serving.engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM ledger.images")).scalar_one())


def code_of(answer: httpx.Response) -> str:
    """Check that an answer is a problem; return its code."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(said)
    return str(said["code"])
