"""The worker's composition root: settings → resources → work, opened once, closed in reverse."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

import schema
from schema.catalogue import read_catalogue
from schema.database import check_migration, explained, open_engine
from schema.errors import SettingsError
from schema.registry import register_worker, retire_worker
from schema.settings import Settings
from workers.device import Device
from workers.leases import Leases
from workers.loaders import Loaders, open_loaders
from workers.models.load import resolve_device
from workers.roster import Roster
from workers.stages import Stages

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """Everything a batch needs, shared by the batches in flight."""

    settings: Settings
    worker_id: UUID
    engine: Engine
    loaders: Loaders
    roster: Roster
    device: Device
    leases: Leases
    stages: Stages


@contextmanager
def open_work(settings: Settings) -> Iterator[Work]:
    """Open the database, the loaders and the models, and register this worker process.

    Raises:
        SettingsError: no database or no broker is named.
        DatabaseError: the database does not answer, or is at another migration.
        CatalogueError: a model named in the settings is not known.
        ModelError: a model named in the settings cannot be loaded, or there is no such device.
    """
    if not settings.names_cluster:
        raise SettingsError(
            "a worker needs FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL; "
            "`fakesweep worker` sets them for the local stack"
        )
    started = time.monotonic()
    database_url = settings.database_url or ""
    worker_id = uuid4()
    device = resolve_device(settings.device)
    catalogue = read_catalogue(settings.catalogue)
    with ExitStack() as resources:
        engine = open_engine(database_url, "worker", pool_size=settings.batches_in_flight + 2)
        resources.callback(engine.dispose)
        with explained(database_url), engine.begin() as connection:
            check_migration(connection)
            register_worker(
                connection,
                worker_id,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                device=device,
                version=schema.__version__,
            )
        resources.callback(_retire, engine, worker_id)
        loaders = resources.enter_context(open_loaders(settings))  # they start while models load
        roster = Roster(engine, worker_id, catalogue, device, settings.cpu_threads)
        for key in dict.fromkeys(settings.models):
            roster.model(key)
        queue = resources.enter_context(Device(settings.device_batch_images).running())
        work = Work(
            settings=settings,
            worker_id=worker_id,
            engine=engine,
            loaders=loaders,
            roster=roster,
            device=queue,
            leases=resources.enter_context(
                Leases(engine, worker_id, settings.lease_seconds).running()
            ),
            stages=resources.enter_context(Stages(lambda: queue.busy_seconds).running()),
        )
        log.info(
            "worker_ready",
            worker=str(worker_id),
            device=device,
            seconds=round(time.monotonic() - started, 2),
        )
        yield work


def _retire(engine: Engine, worker_id: UUID) -> None:
    try:
        with engine.begin() as connection:
            retire_worker(connection, worker_id)
    except DBAPIError as error:
        log.warning("worker_not_retired", reason=str(error.orig).strip())
