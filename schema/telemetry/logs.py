"""Logging: static event names with facts, as text or JSON.

In records of libraries too, control characters are escaped, and URLs lose passwords, signatures and
queries.
"""

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from fakesweep.schema.redaction import without_secrets
from fakesweep.schema.settings import Settings

_NOISY = ("botocore", "boto3", "urllib3", "s3transfer", "PIL", "httpx", "alembic")


class _ErrorStream(logging.StreamHandler[TextIO]):
    """A handler on the current standard error, which a progress bar replaces."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ignore the assignment: the stream is always standard error."""


def set_up_logging(settings: Settings, first: Sequence[Processor] = ()) -> None:
    """Send records of structlog and the standard library to standard error in one format.

    `first` processes our own records before all else; it may drop them.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    rendered: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*first, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _ErrorStream()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendered,
                lambda _logger, _method, line: without_secrets(str(line)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def cleared(text: str) -> str:
    """Return any text as the log shows it, with its line breaks."""
    return without_secrets(_spelled_out(text))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        name: _spelled_out(value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _spelled_out(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode("ascii")
        for one in text
    )
