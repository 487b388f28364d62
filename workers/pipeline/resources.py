"""Resources of the pipeline, shared by the batches in flight."""

from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fakesweep.schema.ledger.batches.leases import release_all
from fakesweep.schema.ledger.connection import first_line, limit_statements, open_engine
from fakesweep.schema.ledger.registry.processes import retire_worker
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.schema.settings import Settings
from fakesweep.workers.pipeline.leases import Leases
from fakesweep.workers.pipeline.score_cache import ScoreCache
from fakesweep.workers.pipeline.throughput import Stages
from fakesweep.workers.sandbox.pool import LoaderPool
from fakesweep.workers.scoring.device_queue import DeviceQueue
from fakesweep.workers.scoring.load_waiters import LoadWaiters
from fakesweep.workers.scoring.model_cache import ModelCache
from fakesweep.workers.threads.exclusive import SharedExclusiveLock
from fakesweep.workers.threads.priority import PriorityThreads

log = structlog.get_logger(__name__)


_HAND_BACK_MS = 3_000


@dataclass(frozen=True, slots=True)
class Work:
    """Everything a batch needs, shared by the batches in flight."""

    settings: Settings
    worker_id: UUID
    engine: Engine
    loaders: LoaderPool
    priority_threads: PriorityThreads
    model_cache: ModelCache
    device: DeviceQueue
    score_cache: ScoreCache
    leases: Leases
    stages: Stages
    ledger_retry: LedgerRetry
    batch_lock: SharedExclusiveLock
    load_waiters: LoadWaiters
    only_scan_id: int | None = None
    put_back: set[int] = field(default_factory=set)

    def hand_back(self) -> None:
        """Release every batch and retire this worker in the ledger, within seconds.

        During a ledger outage the leases expire instead.
        """
        engine = open_engine(self.settings.database_url or "", "shutdown", pool_size=1)
        try:
            with engine.begin() as connection:
                limit_statements(connection, _HAND_BACK_MS)
                batches = release_all(connection, self.worker_id)
                retire_worker(connection, self.worker_id)
            log.info("handed_back", batches=batches)
        except SQLAlchemyError as error:
            log.warning("not_handed_back", reason=first_line(error))
