"""Backup of the local stack's database, and its restore in another home."""

import json
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command, refusal
from tests.acceptance.conftest import Photographs
from tests.acceptance.test_dying_servers import running_producer
from tests.support.contract import by_contract
from tests.support.servers import wait_until

ROWS = "SELECT uri, status, verdict, p_fake, model, sha256, classified_at FROM verdicts ORDER BY 1"
GRANTS = (
    "SELECT c.oid::regclass::text AS name, CAST(coalesce(relacl, "
    "acldefault(CAST(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS \"char\"), relowner)) AS text) "
    "AS rights, (SELECT string_agg(attname || attacl::text, ' ' ORDER BY attnum) "
    "FROM pg_attribute a WHERE a.attrelid = c.oid) AS of_columns FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('ledger', 'public') ORDER BY 1"
)


@pytest.fixture
def other() -> Iterator[Command]:
    """The command in an empty home."""
    home = Path(tempfile.mkdtemp(prefix="fs-other-", dir="/tmp"))
    command = Command({"HOME": str(home / "home")})
    try:
        yield command
    finally:
        command("down", "--yes")
        shutil.rmtree(home, ignore_errors=True)


def test_rows_come_back_from_a_backup(
    local: Command, other: Command, photographs: Photographs, tmp_path: Path
) -> None:
    scan = local.scan(str(photographs(5)))
    rows, grants = local.ask(ROWS), local.ask(GRANTS)
    assert len(rows) >= 5
    file = tmp_path / "all.fakesweep"
    said = json.loads(local.ok("backup", "--json", str(file)))
    size = by_contract("command-backup", said)["bytes"]
    assert size == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "exists" in refusal(local("backup", str(file)))

    by_contract("command-restore", json.loads(other.ok("restore", "--json", str(file))))
    assert other.ask(ROWS) == rows
    assert other.ask(GRANTS) == grants
    by_contract("command-up", json.loads(other.ok("up", "--json")))
    assert len(other.results(scan["scan_id"])) == 5

    asked = other("restore", str(file))
    assert "say --yes" in refusal(asked)
    status, seen = other.asked("n\n", "restore", str(file))
    assert (status != 0, "Replace every row" in seen) == (True, True)
    other.ok("cancel", str(_detached(other, photographs)))
    other.ok("restore", "--yes", str(file))
    assert other.ask(ROWS) == rows
    assert other.ask("SELECT count(*) AS n FROM pg_database WHERE datname LIKE 'fakesweep_%'") == [
        {"n": 0}
    ]
    by_contract("command-down", json.loads(other.ok("down", "--json", "--yes")))


def test_an_invalid_backup_changes_nothing(local: Command, tmp_path: Path) -> None:
    scans = local.ask("SELECT count(*) AS n FROM ledger.scans")
    for name, held in (("text.fakesweep", b"hello"), ("empty.fakesweep", b"")):
        (tmp_path / name).write_bytes(held)
        said = refusal(local("restore", "--yes", str(tmp_path / name)))
        assert f"{name} is no backup" in said
    cut = tmp_path / "cut.fakesweep"
    local.ok("backup", str(cut))
    cut.write_bytes(cut.read_bytes()[:-4_000])
    assert "pg_restore" in refusal(local("restore", "--yes", str(cut)))
    assert "is no file" in refusal(local("restore", "--yes", str(tmp_path / "gone")))
    assert "cannot be written" in refusal(local("backup", str(tmp_path / "text.fakesweep" / "x")))
    assert local.ask("SELECT count(*) AS n FROM ledger.scans") == scans


def test_nothing_is_restored_while_the_stack_is_in_use(local: Command, tmp_path: Path) -> None:
    file = tmp_path / "all.fakesweep"
    local.ok("backup", str(file))
    with running_producer(local, tmp_path / "producer.log") as producer:
        at_work = Path(local.settings["HOME"]) / "at-work" / str(producer.pid)
        wait_until(at_work.exists, "the producer is at work")
        assert f"producer (pid {producer.pid})" in refusal(local("restore", "--yes", str(file)))


def test_a_named_server_is_not_backed_up(cluster_without_worker: Command, tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        said = refusal(cluster_without_worker(command, str(tmp_path / "x")))
        assert "FAKESWEEP_DATABASE_URL" in said


def _detached(command: Command, photographs: Photographs) -> int:
    said = command.ok("scan", "--json", "--detach", str(photographs(1, "more")))
    return int(json.loads(said)["scan_id"])
