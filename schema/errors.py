"""Errors for people: one line with the fault and the remedy.

FakesweepError
├── SettingsError       a setting is invalid
├── SourceError         a source of images cannot be read at all
├── CatalogueError      a model or policy is unknown or badly described
├── ModelError          a checkpoint cannot be loaded, or contradicts its labels
│   └── ModelAway       it cannot be loaded now, and may soon: Hub, files or memory are short
├── DeviceError         the device of the models is broken; no image is to blame
├── LoadersError        the processes that fetch and decode cannot be started
├── DatabaseError       PostgreSQL does not answer, or refuses
│   ├── MigrationError  the database is at another migration than this code
│   └── LedgerAway      it did not answer in time, and may soon
├── BrokerError         the broker does not answer
├── ScanError           a scan does not exist or cannot go on here
├── OutputError         a scan's output cannot be written, or not there
├── ScheduleError       a schedule does not exist, or its times or sources are invalid
├── RetentionError      a scan has to stay, or this user may not delete
├── ExtraError          a feature needs an extra that is not installed
├── TokenError          an API token cannot be made, or there is none of that name
├── WebhookError        a webhook does not exist, cannot be added, or failed its test
├── SubmissionConflict  an idempotency key was used before, for other uploads
├── StreamError         standard input or output is closed, full or broken
└── StackError          the local stack cannot start or stop
"""


class FakesweepError(Exception):
    """Base of all errors: people see its message alone, with `--debug` the traceback too."""


class SettingsError(FakesweepError):
    """A setting is invalid."""


class SourceError(FakesweepError):
    """A source of images cannot be read at all."""


class CatalogueError(FakesweepError):
    """A model or policy is unknown or badly described."""


class ModelError(FakesweepError):
    """A checkpoint cannot be loaded, or contradicts its labels."""


class ModelAway(ModelError):  # noqa: N818 - says what happened
    """A model cannot be loaded now, and may soon; no image is to blame."""


class DeviceError(FakesweepError):
    """The device of the models is broken; no image is to blame."""


class LoadersError(FakesweepError):
    """The processes that fetch and decode cannot be started; no image is to blame."""


class DatabaseError(FakesweepError):
    """PostgreSQL does not answer, or refuses."""


class MigrationError(DatabaseError):
    """The database is at another migration than this code."""


class LedgerAway(DatabaseError):  # noqa: N818 - says what happened
    """PostgreSQL did not answer in time, and may soon."""


class BrokerError(FakesweepError):
    """The broker does not answer."""


class ScanError(FakesweepError):
    """A scan does not exist or cannot go on here."""


class OutputError(FakesweepError):
    """A scan's output cannot be written, or not there."""


class ScheduleError(FakesweepError):
    """A schedule does not exist, or its times or sources are invalid."""


class RetentionError(FakesweepError):
    """A scan has to stay, or this user may not delete."""


class ExtraError(FakesweepError):
    """A feature needs an extra that is not installed."""


class TokenError(FakesweepError):
    """An API token cannot be made, or there is none of that name."""


class WebhookError(FakesweepError):
    """A webhook does not exist, cannot be added, or failed its test."""


class SubmissionConflict(FakesweepError):  # noqa: N818 - says what happened
    """An idempotency key was used before, for other uploads."""


class StreamError(FakesweepError):
    """Standard input or output is closed, full or broken."""


class StackError(FakesweepError):
    """The local stack cannot start or stop."""
