"""Unfit places for a ledger are refused in one line: a full disk, another encoding."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from fakesweep.schema.errors import DatabaseError, FakesweepError
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import check_migration, upgrade
from fakesweep.schema.settings import Settings
from fakesweep.stack import postgres as local_postgres
from fakesweep.stack import redis_server, start_stack
from tests.support.servers import wait_until


@pytest.fixture
def small_disk() -> Iterator[Callable[[float], Path]]:
    """Make a file system of a given number of megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="fs-small-", dir="/tmp"))
    folder.chmod(0o755)

    def make(megabytes: float) -> Path:
        mount = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={int(megabytes * 1024)}k",
            "none",
            str(folder),
        ]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("a file system of its own can be mounted by root alone")
        return folder

    def is_gone() -> bool:
        return not subprocess.run(["umount", folder], check=False, capture_output=True).returncode

    yield make
    if folder.is_mount():
        wait_until(is_gone, "nobody uses the file system")
    folder.rmdir()


@pytest.mark.parametrize("megabytes", [0.02, 4, 30, 40])
def test_a_disk_that_is_full_is_the_cause_that_is_told_and_nothing_is_left_running(
    small_disk: Callable[[float], Path], megabytes: float
) -> None:
    home = small_disk(megabytes) / "home"
    with pytest.raises(FakesweepError, match="No space left on device") as said:
        start_stack(Settings(home=home))
    assert "\n" not in str(said.value)
    assert not re.search(r"\d\d:\d\d", str(said.value))
    assert not local_postgres.lives(home)
    assert not redis_server.lives(home)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused(postgres: str, encoding: str) -> None:
    name = f"fakesweep_test_{encoding.lower()}"
    server = open_engine(postgres, "tests", pool_size=1)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 "
            f"LOCALE_PROVIDER libc LOCALE 'C'"
        )
    server.dispose()
    address = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    engine = open_engine(address, "tests", pool_size=1)
    for refused in (upgrade, check_migration):
        with engine.begin() as connection, pytest.raises(DatabaseError, match=encoding) as said:
            refused(connection)
        assert "UTF8" in str(said.value)
    engine.dispose()
