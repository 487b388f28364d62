"""A user and a password in a URI are refused, and are neither stored nor said anywhere."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from fakesweep.schema.ledger.reports.progress import progress
from tests.acceptance.command import Command
from tests.support.servers import wait_until
from tests.support.web_server import Answer, web_server

USER, PASSWORD = "tom-the-moderator", "hush-hush"
REFUSED = [
    f"s3://{USER}:{PASSWORD}@photos/a.jpg",
    f"http://{USER}:{PASSWORD}@images.test/a.jpg",
    f"HTTPS://{USER}:{PASSWORD}@images.test:8443/a.jpg?{PASSWORD}",
    f"https://{USER}@images.test/a.jpg",
    f"s3://{USER}:{PASSWORD}@photos",
    f"s3://{USER}:x/{PASSWORD}@photos/a.jpg",
    f"http://{USER}:x {PASSWORD}@images.test/a.jpg",
    f"http://{USER}:x/{PASSWORD}@images.test/a.jpg",
    f"ftp://{USER}:{PASSWORD}@images.test/a.jpg",
    f"file://{USER}:{PASSWORD}@images.test/a.jpg",
]
ADMITTED = "s3://photos/a.jpg"


@pytest.fixture
def command(database_url: str, broker_url: str, tmp_path: Path) -> Command:
    return Command(
        {
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "HOME": str(tmp_path / "home"),
            "ALLOW_NETWORKS": "127.0.0.0/8",
            "LOG_LEVEL": "debug",
        }
    )


def manifests(folder: Path) -> list[Path]:
    uris = [*REFUSED, ADMITTED]
    written = {
        "list.txt": "\n".join(uris),
        "list.csv": "\n".join(["id,uri", *(f"1,{uri}" for uri in uris)]),
        "list.jsonl": "\n".join(json.dumps({"uri": uri}) for uri in uris),
    }
    for name, content in written.items():
        (folder / name).write_text(content)
    return [folder / name for name in written]


def everything_stored(connection: Connection) -> str:
    """Return every row of every table as text."""
    tables = connection.execute(
        text("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
             "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
    ).scalars()  # fmt: skip
    return "\n".join(
        row
        for table in tables
        for row in connection.execute(text(f"SELECT row_to_json(t)::text FROM {table} t")).scalars()
    )


def is_listed(engine: Engine, scan_id: int) -> bool:
    with engine.connect() as connection:
        return progress(connection, scan_id).listed_at is not None


def test_a_manifest_with_credentials_leaves_them_nowhere(
    command: Command, engine: Engine, tmp_path: Path
) -> None:
    local = [str(path) for path in manifests(tmp_path)]
    with web_server() as server:
        server.always(Answer(200, Path(local[0]).read_bytes()))
        asked = command("scan", "--detach", *local, f"{server.url}/list.txt")
        assert asked.returncode == 0, asked.stderr
        service = command.start("producer")
        try:
            wait_until(lambda: is_listed(engine, 1), "every source is listed")
        finally:
            service.terminate()
            said = "".join(service.communicate(timeout=30))
    with engine.connect() as connection:
        assert progress(connection, 1).failed == 4 * len(REFUSED)
        stored = everything_stored(connection)
    assert ADMITTED in stored
    for place in (stored, said, asked.stdout, asked.stderr):
        assert USER not in place
        assert PASSWORD not in place


def test_a_source_with_credentials_is_refused_without_repeating_them(command: Command) -> None:
    done = command("scan", "--detach", *REFUSED)
    assert done.returncode == 1
    assert "credentials" in done.stderr
    assert USER not in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
