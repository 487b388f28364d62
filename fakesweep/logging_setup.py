"""Logging of interactive commands: warnings and errors alone, on standard error."""

from typing import Any

import click
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.logs import cleared, set_up_logging
from fakesweep.schema.words import SERVERS
from fakesweep.server_errors import away_in_words, back_in_words
from fakesweep.text import printable


def log_troubles(settings: Settings) -> None:
    """Log warnings and errors, or the level in FAKESWEEP_LOG_LEVEL.

    A server's outage is one line with its remedy, and its return another.
    """
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "warning"})
    set_up_logging(settings, [] if settings.log_format == "json" else [_outage_lines(settings)])


def _outage_lines(settings: Settings) -> Processor:
    def tell(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        said: dict[str, Any] = dict(event)
        server = said.get("awaited")
        if server not in SERVERS:
            return event
        if said["event"] == "waited":
            _say(back_in_words(server))
        elif not said["seconds"]:
            _say(away_in_words(server, said["reason"], settings))
        raise structlog.DropEvent

    return tell


def _say(line: str) -> None:
    click.echo(f"fakesweep: {printable(cleared(line))}", err=True)
