"""Bad input: one line with the fault and the remedy, and nothing written."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesweep.schema.ledger.connection import open_engine
from tests.acceptance.command import Command, refusal
from tests.acceptance.conftest import Photographs
from tests.support.servers import free_port


@pytest.fixture
def unchanged(cluster: Command) -> Iterator[Command]:
    """The cluster, checked to gain no scan or policy."""
    query = text(
        "SELECT (SELECT count(*) FROM ledger.scans), (SELECT count(*) FROM ledger.policies), "
        "(SELECT count(*) FROM ledger.images)"
    )
    engine = open_engine(cluster.settings["DATABASE_URL"], "tests")
    with engine.connect() as connection:
        before = connection.execute(query).one()
        connection.rollback()
        yield cluster
        assert connection.execute(query).one() == before
    engine.dispose()


def test_a_folder_that_does_not_exist(unchanged: Command) -> None:
    assert "/no/such/folder" in refusal(unchanged("scan", "/no/such/folder"))


def test_a_folder_without_an_image(unchanged: Command, tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(unchanged("scan", str(tmp_path)))


def test_a_good_source_does_not_excuse_a_bad_one(
    unchanged: Command, photographs: Photographs
) -> None:
    assert "/no/such" in refusal(unchanged("scan", str(photographs(1)), "/no/such/folder"))


def test_a_bucket_that_cannot_be_listed(unchanged: Command) -> None:
    assert "no-such-bucket" in refusal(unchanged("scan", "s3://no-such-bucket/prefix"))


def test_a_storage_service_that_does_not_answer(unchanged: Command) -> None:
    nowhere = unchanged.where(S3_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    assert "s3://pictures" in refusal(nowhere("scan", "s3://pictures/"))


def test_an_unknown_model_gets_near_matches(unchanged: Command, photographs: Photographs) -> None:
    folder = str(photographs(1))
    line = refusal(unchanged("scan", folder, "--model", "vit-tiny-cifak"))
    assert "did you mean vit-tiny-cifake" in line
    assert "models list" in line
    assert "does not exist" in refusal(unchanged("scan", folder, "--model", "./no-such-model"))


def test_an_unknown_policy_gets_near_matches(unchanged: Command, photographs: Photographs) -> None:
    line = refusal(unchanged("scan", str(photographs(1)), "--policy", "defualt"))
    assert "default" in line


def test_a_manifest_that_is_not_there(unchanged: Command, tmp_path: Path) -> None:
    assert "manifest.csv" in refusal(unchanged("scan", str(tmp_path / "manifest.csv")))


def test_a_table_without_a_column_of_uris(unchanged: Command, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("name,size\na.jpg,3\n")
    assert "uri" in refusal(unchanged("scan", str(manifest)))


def test_a_database_that_does_not_answer(unchanged: Command, photographs: Photographs) -> None:
    port = free_port()
    silent = unchanged.where(DATABASE_URL=f"postgresql://me:hush@127.0.0.1:{port}/ledger")
    for words in (["scan", str(photographs(1))], ["status"], ["db", "upgrade"], ["producer"]):
        line = refusal(silent(*words))
        assert f"127.0.0.1:{port}" in line
        assert "FAKESWEEP_DATABASE_URL" in line
        assert "hush" not in line


def test_a_broker_that_does_not_answer(unchanged: Command, photographs: Photographs) -> None:
    port = free_port()
    silent = unchanged.where(BROKER_URL=f"redis://:hush@127.0.0.1:{port}/0")
    line = refusal(silent("scan", str(photographs(1))))
    assert f"127.0.0.1:{port}" in line
    assert "FAKESWEEP_BROKER_URL" in line
    assert "hush" not in line


def test_a_database_at_another_migration(
    unchanged: Command, photographs: Photographs, empty_database_url: str
) -> None:
    empty = unchanged.where(DATABASE_URL=empty_database_url)
    for words in (["scan", str(photographs(1))], ["status"], ["sql", "SELECT 1"]):
        assert "fakesweep db upgrade" in refusal(empty(*words))
    assert "is at migration" in empty.ok("db", "upgrade")
    assert empty.ok("db", "upgrade") == empty.ok("db", "upgrade")
    assert len(empty.ok("status").splitlines()) == 1
    assert empty.ok("db", "url").strip() == empty_database_url


@pytest.mark.parametrize(
    "words", [["status", "987654"], ["results", "987654"], ["resume", "987654"],
              ["rejudge", "987654", "--policy", "card"], ["status", "987654", "--watch"]]
)  # fmt: skip
def test_a_scan_that_does_not_exist(unchanged: Command, words: list[str]) -> None:
    line = refusal(unchanged(*words))
    assert "there is no scan 987654" in line
    assert "fakesweep status" in line


def test_an_unknown_policy_to_rejudge_by(cluster: Command, photographs: Photographs) -> None:
    scan_id = cluster.scan(str(photographs(1)))["scan_id"]
    assert "defualt" in refusal(cluster("rejudge", str(scan_id), "--policy", "defualt"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "multi-query"),
        ("DELETE FROM ledger.scans", ""),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1 / (3 - n) FROM generate_series(1, 3000) n", "division by zero"),
        ("SELECT nextval('ledger.scans_scan_id_seq')", "read-only"),
    ],
)
def test_sql_that_is_no_reading_query(unchanged: Command, query: str, words: str) -> None:
    done = unchanged("sql", query)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_setting_that_makes_no_sense(cluster: Command) -> None:
    line = refusal(cluster.where(BATCH_IMAGES="many")("status"))
    assert "FAKESWEEP_BATCH_IMAGES" in line


def test_a_catalogue_that_makes_no_sense(
    unchanged: Command, photographs: Photographs, tmp_path: Path
) -> None:
    catalogue = tmp_path / "mine.toml"
    catalogue.write_text("[models.mine]\nsauce = 'x'\n")
    mine = unchanged.where(CATALOGUE=str(catalogue))
    assert "sauce" in refusal(mine("scan", str(photographs(1))))


@pytest.mark.parametrize(
    "words",
    [
        ["scan"],
        ["scan", "--lane", "slow", "x"],
        ["results", "1", "--verdict", "maybe"],
        ["results", "1", "--verdict", "fake", "--failed"],
        ["worker", "--device", "gpu"],
        ["worker", "--batches-in-flight", "0"],
        ["nonsense"],
        ["scan", "x", "--min-size", "huge"],
        ["scan", "x", "--max-size", "-1"],
        ["scan", "x", "--since", "yesterday-ish"],
        ["scan", "x", "--suffixes", "jpg,,png"],
        ["scan", "x", "--output", "https://example.com/out"],
        ["schedule", "add", "n", "x", "--cron", "0 25 * * *"],
        ["schedule", "add", "n", "x", "--cron", "0 3 * * *", "--timezone", "Mars/Olympus"],
        ["webhook", "add", "n", "ftp://example.com/"],
        ["producer", "--listen", "kafka://queue"],
        ["token", "add", "n", "--expires", "soon"],
        ["prune", "--older-than", "6m"],
        ["policy", "set", "n", "--real-below", "0.9", "--fake-above", "0.1"],
        ["sql", "SELECT 1", "--format", "xml"],
        ["retry", "1", "--code", "nonsense"],
    ],
)
def test_wrong_usage_is_exit_status_2(cluster_without_worker: Command, words: list[str]) -> None:
    done = cluster_without_worker(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage:" in done.stderr
