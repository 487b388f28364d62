from dataclasses import dataclass, field
from typing import Any, cast

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.heartbeat import Heartbeat
from fakesweep.schema.telemetry.throughput import Counts, Stage, StageCounts
from fakesweep.schema.words import Role
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.process.heartbeat import look_at, worker_heartbeat

LONG_AGO = -1.0


@dataclass
class Scene:
    """The part of a worker's work that its heartbeat reads."""

    held: int = 0
    images: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(Stage, 0))
    away_since: float | None = None

    @property
    def leases(self) -> Any:
        return self

    @property
    def stages(self) -> Any:
        return self

    @property
    def ledger_retry(self) -> Any:
        return self

    def counts(self) -> Counts:
        return Counts(1.0, {stage: StageCounts(self.images[stage]) for stage in Stage})


def test_work_that_moves_shows_in_the_heartbeat_and_work_that_does_not_too() -> None:
    scene = Scene()
    heartbeat = Heartbeat(Role.WORKER)
    look = look_at(lambda: cast("Work", scene))
    look(heartbeat)

    def moved() -> bool:
        heartbeat.moved_at = LONG_AGO
        look(heartbeat)
        return heartbeat.moved_at != LONG_AGO

    assert not moved()
    scene.held = 1
    assert moved()
    assert heartbeat.in_flight == 1
    assert not moved()
    for stage in Stage:
        scene.images[stage] += 1
        assert moved()
    assert not moved()
    scene.away_since = 7.0
    look(heartbeat)
    assert heartbeat.ledger_away_since == 7.0


def test_before_there_is_work_there_is_nothing_to_see() -> None:
    heartbeat = Heartbeat(Role.WORKER)
    before = heartbeat.moved_at
    look_at(lambda: None)(heartbeat)
    assert (heartbeat.moved_at, heartbeat.in_flight) == (before, 0)


def test_storage_that_stalls_has_all_the_time_that_settings_give_it() -> None:
    settings = Settings(fetch_deadline_seconds=100, fetch_concurrency=16, device_timeout_seconds=50)
    assert worker_heartbeat(settings).step_seconds == 4 * 100 + 50 + 60
    assert worker_heartbeat(settings).grace_seconds == settings.grace_seconds
