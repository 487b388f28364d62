"""Handing images in from a process of one's own; everything is opened on first use."""

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
"""What a process got from the one it was forked from: never used, nor closed under that one."""


def submit(uris: Sequence[str], *, lane: str = "live") -> list[int]:
    """Record images and have them classified; return their rows, in order, once committed.

    The settings are read from the environment on first use; any thread may call. How an image
    stands is in the view `verdicts` and behind the HTTP API.

    Raises:
        InvalidUri: one is no URI; nothing is recorded.
        LedgerAway: the database does not answer; the images may be recorded all the same.
        FakesweepError: the settings, the database or the broker do not let anything begin.
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
    """Begin anew in a forked process, which has the connections of its parent but no threads."""
    global _lock  # noqa: PLW0603 - somebody may have held it
    _lock = threading.Lock()
    _inherited.extend(_opened)
    _opened.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
