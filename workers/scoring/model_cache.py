"""Model cache of a worker: each model is loaded and recorded once, and shared by all batches.

Each model loads on its own thread, so batches wait for their own models only. A temporary failure
(no answer from the Hub, a missing file, a lack of memory) fails no image: `models` raises
`ModelAway`, the batch is handed back, and the load is retried after a backoff.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import Connection

from fakesweep.schema.errors import CatalogueError, FakesweepError, ModelAway, ModelError
from fakesweep.schema.judging.catalogue import Catalogue, ModelEntry
from fakesweep.schema.ledger.registry.model_errors import end_trouble, note_trouble
from fakesweep.schema.ledger.registry.models import record_load, register_model
from fakesweep.schema.ledger.retry import LedgerRetry

if TYPE_CHECKING:
    from fakesweep.workers.models.load import LoadedModel

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
REFUSED_SECONDS = 60.0
"""Lifetime of a refusal; a new scan or a retry ends it early."""

log = structlog.get_logger(__name__)

Known = tuple[int, "LoadedModel"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The loaded models of a batch by ledger id, and the refused ones by key."""

    models: dict[int, "LoadedModel"]
    refused: dict[str, FakesweepError]


@dataclass(slots=True)
class _Cached:
    """State of one model; times are this machine's, except the database's `asked_at`."""

    known: Known | None = None
    is_loading: bool = False
    error: FakesweepError | None = None
    tries: int = 0
    since: float = 0.0
    next_try: float = 0.0
    gave_up: bool = False
    asked_at: datetime | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)


def pause_after(tries: int) -> float:
    """Return the seconds before the next try to load a model."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 10), LONGEST_PAUSE_SECONDS)


class ModelCache:
    """Loads each model on first use and keeps it; thread-safe.

    A model that fails for longer than `retry_seconds` is refused.
    """

    def __init__(
        self,
        ledger_retry: LedgerRetry,
        worker_id: UUID,
        catalogue: Catalogue,
        load: Callable[[ModelEntry], "LoadedModel"],
        *,
        retry_seconds: float = 900.0,
        catalogue_name: str = "FAKESWEEP_CATALOGUE is not set there",
    ) -> None:
        self._ledger_retry = ledger_retry
        self._worker_id = worker_id
        self._catalogue = catalogue
        self._load_model = load
        self._retry_seconds = retry_seconds
        self._catalogue_name = catalogue_name
        self._lock = threading.Lock()
        self._cached: dict[str, _Cached] = {}

    def models(
        self,
        keys: Sequence[str],
        *,
        asked_at: datetime | None = None,
        claimed_at: datetime | None = None,
        may_wait: bool = True,
    ) -> Ready:
        """Return the models of a batch, each loaded or refused; missing ones load in parallel.

        `asked_at` is the time of the batch's request; earlier refusals are tried again.

        Raises:
            ModelAway: a model cannot be loaded now, or (without `may_wait`) is still loading.
            DeviceError: the device is broken.
        """
        wanted = dict.fromkeys(keys)
        for key in wanted:
            self._begin(key, asked_at, claimed_at)
        ready = Ready({}, {})
        for key in wanted:
            found = self._settled(key, may_wait=may_wait)
            if isinstance(found, FakesweepError):
                ready.refused[key] = found
            else:
                ready.models[found[0]] = found[1]
        return ready

    def model(self, key: str) -> Known:
        """Return a model's ledger id and the model; blocks while it loads.

        Raises:
            FakesweepError: the model cannot be loaded, for now (`ModelAway`) or at all.
        """
        self._begin(key, None, None)
        found = self._settled(key, may_wait=True)
        if isinstance(found, FakesweepError):
            raise found
        return found

    def _cached_model(self, key: str) -> _Cached:
        with self._lock:
            return self._cached.setdefault(key, _Cached())

    def _begin(self, key: str, asked_at: datetime | None, claimed_at: datetime | None) -> None:
        """Start a load of the model where it is due."""
        cached = self._cached_model(key)
        with cached.changed:
            if cached.known or cached.is_loading:
                return
            is_anew = (
                cached.error is not None
                and not isinstance(cached.error, ModelAway)
                and asked_at is not None
                and cached.asked_at is not None
                and asked_at > cached.asked_at
            )
            if is_anew:
                cached.tries, cached.gave_up = 0, False
            elif cached.error is not None and time.monotonic() < cached.next_try:
                return
            if not cached.gave_up and not isinstance(cached.error, ModelAway):
                cached.since, cached.tries = time.monotonic(), 0
            cached.is_loading = True
            cached.tries += 1
            cached.asked_at = claimed_at
        threading.Thread(
            target=self._load, args=(key, cached), name=f"load-{key}", daemon=True
        ).start()

    def _settled(self, key: str, *, may_wait: bool) -> Known | FakesweepError:
        """Wait for a load to end; return the model or its refusal."""
        cached = self._cached_model(key)
        with cached.changed:
            if cached.is_loading and not may_wait:
                raise ModelAway(f"model {key!r} is being loaded")
            cached.changed.wait_for(lambda: not cached.is_loading)
            if cached.known is not None:
                return cached.known
            error = cached.error or ModelAway(f"model {key!r} is not loaded")
        if isinstance(error, ModelError | CatalogueError) and not isinstance(error, ModelAway):
            return error
        raise type(error)(str(error))  # a fresh exception for each waiting thread

    def _load(self, key: str, cached: _Cached) -> None:
        """Load a model and record the outcome in the cache; runs on its own thread."""
        known: Known | None = None
        error: FakesweepError | None = None
        try:
            known = self._loaded(key)
        except FakesweepError as refused:
            error = refused
        except Exception as broken:  # noqa: BLE001 - the waiting threads must learn of it
            error = ModelAway(f"model {key!r} cannot be loaded now: {broken!r:.200}")
        pause_seconds: float | None = None
        lasted = time.monotonic() - cached.since
        gave_up = isinstance(error, ModelAway) and lasted > self._retry_seconds
        if gave_up:
            error = ModelError(
                f"{error} (tried for {lasted:.0f} s, FAKESWEEP_MODEL_PATIENCE_SECONDS)"
            )
        elif isinstance(error, ModelAway):
            pause_seconds = pause_after(cached.tries)
        with cached.changed:
            cached.known, cached.error, cached.gave_up = known, error, gave_up
            cached.next_try = time.monotonic() + (
                REFUSED_SECONDS if pause_seconds is None else pause_seconds
            )
            cached.is_loading = False
            cached.changed.notify_all()
        if error is not None:
            self._note(key, cached.tries, error, pause_seconds)

    def _loaded(self, key: str) -> Known:
        model = self._load_model(self._entry(key))

        def record(connection: Connection) -> int:
            model_id = register_model(connection, model.identity)
            record_load(connection, self._worker_id, model_id, model.seconds)
            end_trouble(connection, self._worker_id, key)
            return model_id

        model_id = self._ledger_retry.run(record)
        log.info(
            "model_loaded",
            model=key,
            revision=model.identity.revision,
            fingerprint=model.identity.fingerprint,
            device=str(model.place.device),
            precision=model.place.precision.value,
            images_per_call=model.call_images,
            seconds=round(model.seconds, 3),
        )
        return model_id, model

    def _entry(self, key: str) -> ModelEntry:
        """Return the catalogue's entry of a key.

        A missing folder beside existing ones is a temporary failure: it may be being replaced.
        """
        try:
            return self._catalogue.model(key)
        except CatalogueError as error:
            where = f"the worker on {socket.gethostname()}: {error}"
            if key.startswith("/") and Path(key).parent.is_dir():
                raise ModelAway(where) from error
            raise CatalogueError(f"{where}; {self._catalogue_name}") from error

    def _note(
        self, key: str, tries: int, error: FakesweepError, pause_seconds: float | None
    ) -> None:
        if pause_seconds is None:
            log.error("model_refused", model=key, reason=str(error))
        else:
            log.warning("model_away", model=key, reason=str(error), next_try_seconds=pause_seconds)
        self._ledger_retry.run(
            partial(
                note_trouble,
                worker_id=self._worker_id,
                key=key,
                reason=str(error),
                tries=tries,
                pause_seconds=pause_seconds,
            )
        )
