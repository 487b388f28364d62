import logging
import sys

import pytest
import redis

from fakesweep.workers.broker.log_filter import without_tracebacks


def record(name: str, error: Exception | None = None) -> logging.LogRecord:
    exc_info = None
    if error is not None:
        try:
            raise error
        except type(error):
            exc_info = sys.exc_info()
    return logging.LogRecord(name, logging.ERROR, "", 1, "no %s,\n  none", ("ack",), exc_info)


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("refused\nhere"), BrokenPipeError("refused here")]
)
def test_an_outage_that_celery_tells_of_is_one_line_with_its_reason(error: Exception) -> None:
    said = record("celery.worker.consumer", error)
    assert without_tracebacks(said)
    assert said.getMessage() == "no ack, none: refused here"
    assert said.exc_info is None


def test_any_other_error_keeps_its_traceback() -> None:
    said = record("celery.app.trace", ValueError("unheard of"))
    assert without_tracebacks(said)
    assert said.getMessage() == "no ack, none"
    assert said.exc_info is not None


def test_what_others_say_is_left_as_it_is() -> None:
    said = record("fakesweep.workers.pipeline.batch", redis.ConnectionError("refused"))
    assert without_tracebacks(said)
    assert said.getMessage() == "no ack,\n  none"
    assert said.exc_info is not None
