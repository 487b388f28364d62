"""Schedules for tests: a producer without a broker, rows, and due times."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from fakesweep.producer.publisher import Publisher
from fakesweep.producer.resources import Producer
from fakesweep.producer.scans import ScanRequest
from fakesweep.producer.schedules.firing import add_schedule
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.schedules.schedules import pause_schedule
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import run, tuples, value

MODEL = "vit-tiny-cifake"
ZONE = "Europe/Berlin"
RUNS = "SELECT due_at, outcome, scan_id, reason FROM schedule_runs ORDER BY due_at"


def producer_on(engine: Engine) -> Producer:
    """Return a producer that never contacts its broker."""
    settings = Settings(broker_url="redis://127.0.0.1:1/0")
    return Producer(settings, read_catalogue(None), engine, Publisher(settings))


def add(producer: Producer, name: str = "nightly", **changes: Any) -> int:
    """Add a schedule of a bucket that is never listed; return its row."""
    wanted: dict[str, Any] = {
        "sources": ("s3://photos/2026/",),
        "models": (MODEL,),
        "lane": Lane.BULK,
        "policy": "default",
        "is_audit": True,
    }
    times: dict[str, Any] = {"cron": f"0 {far_hour()} * * *", "timezone": ZONE}
    looked_at = changes.pop("check_sources", False)
    times |= {key: changes.pop(key) for key in list(changes) if key in times}
    with producer.engine.begin() as connection:
        add_schedule(
            connection,
            producer.settings,
            producer.catalogue,
            ScanRequest(name=name, **(wanted | changes)),
            check_sources=looked_at,
            **times,
        )
    return int(value(producer.engine, "SELECT max(schedule_id) FROM schedules"))


def far_hour() -> int:
    """Return an hour of the day at a distance of six hours or more.

    A daily schedule then has no other time between a due time in a test and now.
    """
    return 3 if 9 <= datetime.now(ZoneInfo(ZONE)).hour <= 20 else 15


def make_due(engine: Engine, ago: str = "0 seconds", name: str = "nightly") -> None:
    run(
        engine,
        "UPDATE ledger.schedules SET next_at = now() - CAST(:ago AS interval) WHERE name = :name",
        ago=ago,
        name=name,
    )


def scans(engine: Engine) -> int:
    return int(value(engine, "SELECT count(*) FROM ledger.scans"))


def outcomes(engine: Engine, name: str = "nightly") -> list[str]:
    query = "SELECT outcome FROM schedule_runs WHERE schedule = :name ORDER BY due_at"
    return [outcome for (outcome,) in tuples(engine, query, name=name)]


def steer_named(engine: Engine, name: str) -> bool:
    with engine.begin() as connection:
        return pause_schedule(connection, name)
