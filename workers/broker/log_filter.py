"""An outage of the broker in the log: expected, so one line each, without a traceback."""

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

_EXPECTED = (OperationalError, RedisError, OSError)
_LIBRARIES = ("celery", "kombu", "py.warnings")


def without_tracebacks(record: logging.LogRecord) -> bool:
    """Put what Celery logs, or a warning, on one line; of an outage its reason, no traceback."""
    if not record.name.startswith(_LIBRARIES):
        return True
    error = record.exc_info[1] if record.exc_info else None
    said = [record.getMessage()]
    if isinstance(error, _EXPECTED):
        record.exc_info = record.exc_text = None
        said.append(str(error))
    record.msg, record.args = " ".join(": ".join(said).split()), None
    return True
