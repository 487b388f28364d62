"""Client for Python programs: `fakesweep.submit`, with resources opened on first use."""

import atexit
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakesweep.producer.uploads import Uploads

_lock = threading.Lock()
_opened: list[tuple["Uploads", ExitStack]] = []
_inherited: list[object] = []
"""Resources of the parent process after a fork: neither used nor closed in the child."""


def submit(uris: Sequence[str], *, lane: str = "live") -> list[int]:
    """Submit images for classification; return their image ids once they are committed.

    The call is `from fakesweep import submit`; any thread may use it. Settings come from the
    environment on first use. Verdicts are in the view `verdicts` and in the HTTP API.

    Args:
        uris: image URIs; the ids are in the same order.
        lane: `live` or `bulk`.

    Raises:
        InvalidUri: a URI is invalid; nothing is recorded.
        LedgerAway: the database does not answer; the images may be recorded nevertheless.
        FakesweepError: settings, database or broker cannot be used.
    """
    from fakesweep.schema.ledger.uploads import Upload  # noqa: PLC0415 - the import stays light
    from fakesweep.schema.words import Lane  # noqa: PLC0415

    submitted = _uploads().submit([Upload(uri) for uri in uris], lane=Lane(lane))
    return list(submitted.image_ids)


def _uploads() -> "Uploads":
    with _lock:
        if not _opened:
            _opened.append(_open())
        return _opened[0][0]


def _open() -> tuple["Uploads", ExitStack]:
    from fakesweep.producer.resources import open_producer  # noqa: PLC0415
    from fakesweep.producer.uploads import Uploads  # noqa: PLC0415
    from fakesweep.schema.errors import SettingsError  # noqa: PLC0415
    from fakesweep.schema.judging.catalogue import read_catalogue  # noqa: PLC0415
    from fakesweep.schema.settings import read_settings  # noqa: PLC0415

    settings = read_settings()
    if not settings.names_cluster:
        raise SettingsError(
            "nowhere to hand images in: set FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL "
            "to those of the cluster"
        )
    with ExitStack() as opening:
        producer = opening.enter_context(
            open_producer(settings, read_catalogue(settings.catalogue))
        )
        uploads = opening.enter_context(Uploads(producer))
        return uploads, opening.pop_all()


def _close() -> None:
    with _lock:
        while _opened:
            _opened.pop()[1].close()


def _forget() -> None:
    """Reset the client in a forked child, which inherits connections but no threads."""
    global _lock  # noqa: PLW0603 - another thread may have held it at the fork
    _lock = threading.Lock()
    _inherited.extend(_opened)
    _opened.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
