import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fakesweep.schema.telemetry.heartbeat import (
    LEAVE_SECONDS,
    LOOP_SECONDS,
    SILENT_SECONDS,
    START_SECONDS,
    Heartbeat,
    Phase,
    activity,
    beating,
    complaint,
    read_heartbeats,
)
from fakesweep.schema.words import Role
from tests.support.servers import wait_until

NOW = 100_000.0


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"fakesweep-{os.getuid()}"


def heartbeat(phase: Phase = Phase.RUNNING, **said: float | None) -> Heartbeat:
    """Return the heartbeat of a healthy worker at `NOW`, with changes."""
    well = Heartbeat(Role.WORKER, step_seconds=300, grace_seconds=25, phase=phase)
    well.phase_at = well.beat_at = well.looped_at = well.moved_at = NOW
    for name, value in said.items():
        setattr(well, name, value)
    return well


def test_a_process_that_does_what_it_should_is_healthy() -> None:
    assert complaint(heartbeat(), NOW) is None
    assert complaint(heartbeat(in_flight=3), NOW) is None
    assert activity(heartbeat(), NOW) == "running"
    assert activity(heartbeat(in_flight=3, moved_at=NOW - 2), NOW) == (
        "working on 3 batches, moved 2 s ago"
    )


def test_a_process_that_is_frozen_is_not() -> None:
    assert complaint(heartbeat(beat_at=NOW - SILENT_SECONDS), NOW) is None
    assert complaint(heartbeat(beat_at=NOW - 45), NOW) == "has not been heard of for 45 s"


def test_a_loop_that_does_not_come_round_is_a_reason_unless_the_broker_does_not_answer() -> None:
    stuck = heartbeat(looped_at=NOW - LOOP_SECONDS - 10)
    assert complaint(stuck, NOW) == "has not looked for work for 70 s"
    stuck.broker_missed_at = NOW - 12
    assert complaint(stuck, NOW) is None
    assert activity(stuck, NOW) == "waiting for the broker"
    stuck.broker_missed_at = NOW - LOOP_SECONDS - 1
    assert complaint(stuck, NOW) == "has not looked for work for 70 s", "it tries no more"


def test_batches_that_do_not_move_are_a_reason_unless_the_database_is_away() -> None:
    still = heartbeat(in_flight=2, moved_at=NOW - 301)
    assert complaint(still, NOW) == "holds 2 batches that have not moved for 301 s"
    still.ledger_away_since = NOW - 301
    assert complaint(still, NOW) is None
    assert activity(still, NOW) == "waiting for the database for 301 s"
    assert complaint(heartbeat(moved_at=NOW - 9_999), NOW) is None, "an idle worker is none"


@pytest.mark.parametrize(
    ("phase", "limit_seconds", "why"),
    [
        (Phase.STARTING, START_SECONDS, "has been starting for"),
        (Phase.LEAVING, 25 + LEAVE_SECONDS, "was told to leave"),
    ],
)
def test_a_process_may_take_its_time_to_start_and_to_leave_but_not_for_ever(
    phase: Phase, limit_seconds: float, why: str
) -> None:
    one = heartbeat(phase, looped_at=NOW - 2_000, moved_at=NOW - 2_000, in_flight=1)
    one.phase_at = NOW - limit_seconds
    assert complaint(one, NOW) is None
    assert activity(one, NOW) == f"{phase} for {limit_seconds:.0f} s"
    one.phase_at -= 1
    assert why in str(complaint(one, NOW))


def test_a_heartbeat_is_written_over_and_over_and_gone_in_the_end(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesweep.schema.telemetry.heartbeat.BEAT_SECONDS", 0.01)
    looks: list[Heartbeat] = []
    with beating(Heartbeat(Role.PRODUCER), looks.append):
        wait_until(lambda: len(looks) > 2, "it beats again")
        [found] = read_heartbeats(Role.PRODUCER)
        assert time.monotonic() - found.beat_at < 10
        assert (found.role, found.phase, found.pid) == (Role.PRODUCER, Phase.STARTING, os.getpid())
        assert read_heartbeats(Role.WORKER) == []
        assert temporary.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_a_loop_that_comes_round_first_ends_the_start_and_nothing_else() -> None:
    one, leaving = Heartbeat(Role.PRODUCER), heartbeat(Phase.LEAVING)
    one.tick()
    leaving.tick()
    assert (one.phase, leaving.phase) == (Phase.RUNNING, Phase.LEAVING)


def test_a_process_that_was_killed_has_no_heartbeat_even_where_another_has_its_number(
    temporary: Path,
) -> None:
    program = (
        "import os, signal, sys, tempfile, time; "
        "from fakesweep.schema.telemetry.heartbeat import *; "
        f"tempfile.tempdir = {str(temporary.parent)!r}; "
        "beat = beating(Heartbeat(Role.WORKER)); beat.__enter__(); "
        "print(1, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    wait_until(lambda: bool(read_heartbeats(Role.WORKER)), "the process has a heartbeat")
    [left] = temporary.iterdir()
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    said = json.loads(left.read_text())
    assert read_heartbeats(Role.WORKER) == []
    assert not left.exists()
    left.write_text(json.dumps(said | {"pid": os.getpid()}))
    assert read_heartbeats(Role.WORKER) == []


def test_nobody_elses_folder_is_trusted(temporary: Path) -> None:
    temporary.mkdir(mode=0o700)
    temporary.chmod(0o770)
    with pytest.raises(PermissionError, match="is not a private folder of this user"):
        read_heartbeats(Role.WORKER)
    temporary.rmdir()
    elsewhere = temporary.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    temporary.symlink_to(elsewhere)
    with pytest.raises(PermissionError, match="is not a private folder of this user"):
        read_heartbeats(Role.WORKER)


def test_a_heartbeat_that_cannot_be_written_holds_nothing_up(
    temporary: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesweep.schema.telemetry.heartbeat.BEAT_SECONDS", 0.01)
    temporary.write_text("no folder")
    looks: list[Heartbeat] = []
    with beating(Heartbeat(Role.WORKER), looks.append):
        wait_until(lambda: len(looks) > 5, "it goes on")
    assert capfd.readouterr().out.count("heartbeat_not_written") == 1


def test_the_heartbeat_of_another_version_is_said_to_be_one(temporary: Path) -> None:
    temporary.mkdir(mode=0o700)
    (temporary / "worker-1.json").write_text('{"role": "worker", "mood": "fine"}')
    with pytest.raises(OSError, match="another version's heartbeat"):
        read_heartbeats(Role.WORKER)
