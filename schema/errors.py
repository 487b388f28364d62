"""Errors a person can act on: one line saying what is wrong and what to do.

FakesweepError
├── SettingsError       a setting does not make sense
├── SourceError         a source of images cannot be read at all
├── CatalogueError      a model or policy is unknown or badly described
├── ModelError          a checkpoint cannot be loaded, or contradicts its labels
├── DeviceError         the device the models run on is broken; no image is to blame
├── LoadersError        the processes that fetch and decode cannot be started
├── DatabaseError       PostgreSQL does not answer, or refuses
│   └── MigrationError  the database is at another migration than this code
├── BrokerError         the broker does not answer
├── ScanError           a scan does not exist or cannot go on here
└── StackError          the local stack cannot start or stop
"""


class FakesweepError(Exception):
    """Shown to people as its message alone; the traceback only with `--debug`."""


class SettingsError(FakesweepError):
    """A setting does not make sense."""


class SourceError(FakesweepError):
    """A source of images cannot be read at all."""


class CatalogueError(FakesweepError):
    """A model or policy is unknown or badly described."""


class ModelError(FakesweepError):
    """A checkpoint cannot be loaded, or contradicts its labels."""


class DeviceError(FakesweepError):
    """The device the models run on is broken; no image is to blame."""


class LoadersError(FakesweepError):
    """The processes that fetch and decode cannot be started; no image is to blame."""


class DatabaseError(FakesweepError):
    """PostgreSQL does not answer, or refuses."""


class MigrationError(DatabaseError):
    """The database is at another migration than this code."""


class BrokerError(FakesweepError):
    """The broker does not answer."""


class ScanError(FakesweepError):
    """A scan does not exist or cannot go on here."""


class StackError(FakesweepError):
    """The local stack cannot start or stop."""
