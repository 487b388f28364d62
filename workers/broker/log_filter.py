"""Log filter that reduces a broker outage to one line without a traceback."""

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

_EXPECTED = (OperationalError, RedisError, OSError)
_LIBRARIES = ("celery", "kombu", "py.warnings")


def without_tracebacks(record: logging.LogRecord) -> bool:
    """Flatten Celery's messages and warnings to one line; outages keep the reason only."""
    if not record.name.startswith(_LIBRARIES):
        return True
    error = record.exc_info[1] if record.exc_info else None
    said = [record.getMessage()]
    if isinstance(error, _EXPECTED):
        record.exc_info = record.exc_text = None
        said.append(str(error))
    record.msg, record.args = " ".join(": ".join(said).split()), None
    return True
