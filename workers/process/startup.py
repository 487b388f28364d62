"""The worker's composition root: settings → resources → work, opened once, closed in reverse."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fakesweep import schema
from fakesweep.schema.errors import SettingsError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.connection import explained, first_line, open_engine
from fakesweep.schema.ledger.registry.processes import record_stages, register_worker, retire_worker
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.schema.migrations import check_migration
from fakesweep.schema.queues import LIVE_SLOTS
from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.throughput import Counts, StageReport
from fakesweep.workers.pipeline.leases import Leases
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreCache
from fakesweep.workers.pipeline.throughput import Stage, Stages
from fakesweep.workers.sandbox.allocator import keep_freed_memory
from fakesweep.workers.sandbox.pool import open_loader_pool
from fakesweep.workers.scoring.device_queue import DeviceQueue
from fakesweep.workers.scoring.load_waiters import LoadWaiters
from fakesweep.workers.scoring.model_cache import ModelCache
from fakesweep.workers.threads.exclusive import SharedExclusiveLock
from fakesweep.workers.threads.priority import PriorityThreads

LOADERS_PER_CORE = 2
LIVE_LOADERS = 1
"""Loader processes reserved for live images, beside those of all lanes."""

_SPARE_CONNECTIONS = 4  # for leases, stages and look-ups, beside the batches' stores
KEPT_BYTES = 1024**3
"""Freed memory that a worker process keeps for the next call of its models."""

log = structlog.get_logger(__name__)


@contextmanager
def open_work(
    settings: Settings, worker_id: UUID | None = None, only_scan_id: int | None = None
) -> Iterator[Work]:
    """Open the database, the loaders and the models, and register this worker process.

    `worker_id` is its ledger id, None for a new one. `only_scan_id` limits it to one scan.

    Raises:
        SettingsError: the settings name no database or no broker.
        DatabaseError: the database does not answer, or is at another migration.
        CatalogueError: a model in the settings is unknown.
        ModelError: a model in the settings cannot be loaded, or the device does not exist.
    """
    from fakesweep.workers.models.load import load_model  # noqa: PLC0415 - torch takes seconds to import
    from fakesweep.workers.models.place import resolve_place  # noqa: PLC0415

    if not settings.names_cluster:
        raise SettingsError(
            "a worker needs FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL; "
            "`fakesweep worker` sets them for the local stack"
        )
    started = time.monotonic()
    database_url = settings.database_url or ""
    worker_id = worker_id or uuid4()
    place = resolve_place(settings.device, settings.precision)
    keep_freed_memory(KEPT_BYTES)
    catalogue = read_catalogue(settings.catalogue)
    with ExitStack() as resources:
        loader_count = settings.loaders or LOADERS_PER_CORE * len(os.sched_getaffinity(0))
        connections = settings.batches_in_flight + LIVE_SLOTS + _SPARE_CONNECTIONS
        engine = open_engine(database_url, "worker", pool_size=connections)
        resources.callback(engine.dispose)
        with explained(database_url), engine.begin() as connection:
            check_migration(connection)
            register_worker(
                connection,
                worker_id,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                device=str(place.device),
                version=schema.__version__,
            )
        resources.callback(_retire, engine, worker_id)
        ledger_retry = LedgerRetry(engine, settings.refusal_seconds)
        # Loaders start while models load.
        loaders = resources.enter_context(open_loader_pool(settings, loader_count, LIVE_LOADERS))
        model_cache = ModelCache(
            ledger_retry,
            worker_id,
            catalogue,
            lambda entry: load_model(
                entry,
                place,
                decoding=settings.decode,
                cpu_threads=settings.cpu_threads,
                call_images=settings.device_batch_images,
            ),
            retry_seconds=settings.model_patience_seconds,
            catalogue_name=(
                "FAKESWEEP_CATALOGUE is not set there"
                if settings.catalogue is None
                else f"FAKESWEEP_CATALOGUE is {settings.catalogue} there"
            ),
        )
        for key in dict.fromkeys(settings.models):
            model_cache.model(key)
        device = DeviceQueue(
            settings.device_timeout_seconds,
            lambda seconds: stages.waited(Stage.DEVICE, seconds),
        )
        resources.enter_context(device.running())
        stages = resources.enter_context(
            Stages(
                loader_count,
                settings.batches_in_flight,
                lambda: device.busy_seconds,
                partial(_record_stages, engine, worker_id),
            ).running()
        )
        work = Work(
            settings=settings,
            worker_id=worker_id,
            engine=engine,
            loaders=loaders,
            priority_threads=resources.enter_context(
                PriorityThreads(loader_count, LIVE_LOADERS).running()
            ),
            model_cache=model_cache,
            device=device,
            score_cache=ScoreCache(),
            leases=resources.enter_context(
                Leases(ledger_retry, worker_id, settings.lease_seconds).running()
            ),
            stages=stages,
            ledger_retry=ledger_retry,
            batch_lock=SharedExclusiveLock(),
            load_waiters=LoadWaiters(),
            only_scan_id=only_scan_id,
        )
        log.info(
            "worker_ready",
            worker=str(worker_id),
            device=str(place.device),
            precision=place.precision.value,
            seconds=round(time.monotonic() - started, 2),
        )
        yield work


def _record_stages(engine: Engine, worker_id: UUID, lately: StageReport, total: Counts) -> None:
    with engine.begin() as connection:
        record_stages(connection, worker_id, lately, total)


def _retire(engine: Engine, worker_id: UUID) -> None:
    try:
        with engine.begin() as connection:
            retire_worker(connection, worker_id)
    except SQLAlchemyError as error:
        log.warning("worker_not_retired", reason=first_line(error))
