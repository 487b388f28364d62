"""The models of one worker process: each loaded once, recorded once, shared by all batches."""

import threading
from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy import Connection

from schema.catalogue import Catalogue, ModelEntry
from schema.errors import FakesweepError
from schema.patience import Patience
from schema.registry import record_load, register_model
from workers.models.load import LoadedModel

log = structlog.get_logger(__name__)


class Roster:
    """Loads a model when it is first asked for, and keeps it; safe to ask from many threads."""

    def __init__(
        self,
        patience: Patience,
        worker_id: UUID,
        catalogue: Catalogue,
        load: Callable[[ModelEntry], LoadedModel],
    ) -> None:
        self._patience = patience
        self._worker_id = worker_id
        self._catalogue = catalogue
        self._load_model = load
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
        model = self._load_model(self._catalogue.model(key))

        def record(connection: Connection) -> int:
            model_id = register_model(connection, model.identity)
            record_load(connection, self._worker_id, model_id, model.seconds)
            return model_id

        model_id = self._patience.run(record)
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
