"""Diagnosis of a stall caused by the broker."""

from dataclasses import replace
from pathlib import Path

from fakesweep.diagnosis import Reason, blockers_of
from fakesweep.schema.settings import Settings
from tests.support.servers import free_port
from tests.unit.fakesweep.test_diagnosis import ALL_THERE, MOVING, NOON, STILL


def test_a_broker_that_answers_is_not_to_blame(broker_url: str) -> None:
    settings = Settings(database_url="postgresql://db/x", broker_url=broker_url)
    (wait,) = blockers_of(MOVING, replace(ALL_THERE, at=STILL), settings)
    assert wait.reason is Reason.IN_WORK


def test_a_broker_that_does_not_answer_is_told_without_its_password() -> None:
    port = free_port()
    url = f"redis://:hush@127.0.0.1:{port}/3"
    settings = Settings(database_url="postgresql://db/x", broker_url=url)
    (wait,) = blockers_of(MOVING, replace(ALL_THERE, at=STILL), settings)
    assert wait.reason is Reason.NO_BROKER
    assert f"redis://127.0.0.1:{port}" in wait.said
    assert "hush" not in wait.said


def test_the_broker_is_not_asked_while_something_moves() -> None:
    settings = Settings(
        database_url="postgresql://db/x", broker_url=f"redis://127.0.0.1:{free_port()}/0"
    )
    assert blockers_of(MOVING, replace(ALL_THERE, at=NOON), settings) == []


def test_a_local_stack_that_is_down_is_to_blame(tmp_path: Path) -> None:
    (wait,) = blockers_of(MOVING, replace(ALL_THERE, at=STILL), Settings(home=tmp_path))
    assert wait.reason is Reason.NO_BROKER
    assert wait.said.endswith("fakesweep up")
