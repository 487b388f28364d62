"""Logging of commands that a person waits for: troubles only, on standard error."""

from schema.logs import set_up_logging
from schema.settings import Settings


def log_troubles(settings: Settings) -> None:
    """Log warnings and errors, or what FAKESWEEP_LOG_LEVEL asks for where it is set."""
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "warning"})
    set_up_logging(settings)
