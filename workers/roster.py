"""The models of one worker process: each loaded once, recorded once, shared by all batches."""

import threading
from uuid import UUID

import structlog
from sqlalchemy import Engine

from schema.catalogue import Catalogue
from schema.errors import FakesweepError
from schema.registry import record_load, register_model
from workers.models.load import LoadedModel, load_model

log = structlog.get_logger(__name__)


class Roster:
    """Loads a model when it is first asked for, and keeps it; safe to ask from many threads."""

    def __init__(
        self, engine: Engine, worker_id: UUID, catalogue: Catalogue, device: str, cpu_threads: int
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._catalogue = catalogue
        self._device = device
        self._cpu_threads = cpu_threads
        self._lock = threading.Lock()
        self._models: dict[str, tuple[int, LoadedModel]] = {}
        self._refused: dict[str, FakesweepError] = {}

    def model(self, key: str) -> tuple[int, LoadedModel]:
        """Return a model's row in the ledger and the model itself.

        Raises:
            CatalogueError: the key is not known.
            ModelError: the checkpoint cannot be loaded; it is not tried again in this process.
        """
        with self._lock:
            if key in self._refused:
                raise self._refused[key]
            if key not in self._models:
                try:
                    self._models[key] = self._load(key)
                except FakesweepError as error:
                    log.error("model_refused", model=key, reason=str(error))
                    self._refused[key] = error
                    raise
            return self._models[key]

    def _load(self, key: str) -> tuple[int, LoadedModel]:
        model = load_model(self._catalogue.model(key), self._device, self._cpu_threads)
        with self._engine.begin() as connection:
            model_id = register_model(connection, model.identity)
            record_load(connection, self._worker_id, model_id, model.seconds)
        log.info(
            "model_loaded",
            model=key,
            revision=model.identity.revision,
            fingerprint=model.identity.fingerprint,
            device=self._device,
            seconds=round(model.seconds, 3),
        )
        return model_id, model
