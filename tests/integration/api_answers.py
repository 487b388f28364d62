"""What the API is asked in tests, and what it answers."""

import httpx
from sqlalchemy import text

from fakesweep.serving.problems import MEDIA_TYPE
from tests.support.api_server import Serving

ONE = {"uri": "s3://uploads/a.jpg"}


def images(serving: Serving) -> int:
    with serving.engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM ledger.images")).scalar_one())


def code_of(answer: httpx.Response) -> str:
    """Return the code of a problem, having checked that it is one."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(said)
    return str(said["code"])
