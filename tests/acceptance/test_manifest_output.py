"""Manifest outputs: from `source-ref` lines to an output manifest and its summary, idempotently."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.acceptance.command import Command, counts, refusal
from tests.acceptance.conftest import Photographs
from tests.support.servers import S3Server, wait_until

MODEL = "vit-tiny-cifake"


@pytest.fixture
def storage(_s3_server: S3Server) -> S3Server:
    """The S3 server of the cluster's worker, with a bucket for outputs."""
    _s3_server.make_bucket("manifest-out")
    return _s3_server


@pytest.fixture
def manifest(photographs: Photographs, storage: S3Server) -> str:
    """The URI of a manifest: five images, one other object, one missing, one broken line."""
    for path in photographs(5, "uploads").iterdir():
        storage.put("manifest-in", f"june/{path.name}", path.read_bytes())
    storage.put("manifest-in", "june/text.jpg", b"no image at all")
    names = [f"{number:04}.jpg" for number in range(5)] + ["text.jpg", "missing.jpg"]
    lines = [json.dumps({"source-ref": f"s3://manifest-in/june/{name}"}) for name in names]
    content = "\n".join([*lines, '{"source-ref": 5}', ""])
    return storage.put("manifest-in", "june.jsonl", content.encode())


def lines_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return an output's lines by `source-ref`, each of which has exactly one."""
    summary = json.loads((folder / "manifest-summary.json").read_text())
    lines: list[dict[str, Any]] = []
    for part in summary["parts"]:
        content = (folder / part["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
        lines += map(json.loads, content.splitlines())
    by_reference = {line["source-ref"]: line for line in lines}
    assert len(by_reference) == len(lines) == summary["statistics"]["lines"]
    return by_reference


def test_a_manifest_goes_in_and_a_manifest_with_every_verdict_comes_out(
    cluster: Command, manifest: str, storage: S3Server
) -> None:
    words = (
        manifest,
        "--output",
        "s3://manifest-out/june",
        "--token",
        "manifests of june 2026",
        "--name",
        "june",
    )
    said = cluster.scan(*words)
    assert counts(said) == {"classified": 5, "failed": 3}
    folder = storage.root / "manifest-out" / "june"
    lines = lines_in(folder)
    stored = {row["uri"]: row for row in cluster.results(said["scan_id"])}
    assert lines.keys() == stored.keys()
    for uri, row in stored.items():
        metadata = lines[uri]["fakesweep-metadata"]
        assert metadata["status"] == row["status"]
        assert metadata["sha256"] == row["sha256"]
        if row["status"] == "failed":
            assert lines[uri]["fakesweep"] == {}
            assert metadata["failure_code"] == row["failure_code"]
        else:
            names = ("verdict", "p_fake", "kind", "scores")
            assert lines[uri]["fakesweep"] == {MODEL: {name: row[name] for name in names}}
            assert metadata["models"] == {MODEL: row["model_revision"]}
    summary = json.loads((folder / "manifest-summary.json").read_text())
    assert summary["state"] == "finished"
    assert summary["token"] == "manifests of june 2026"
    statistics = summary["statistics"]
    assert (statistics["submitted"], statistics["classified"], statistics["failed"]) == (8, 5, 3)
    assert statistics["failures"] == {"invalid_uri": 1, "not_an_image": 1, "not_found": 1}
    assert sum(statistics["verdicts"][MODEL].values()) == 5

    again = cluster("scan", "--json", *words)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["scan_id"] == said["scan_id"]
    assert "token" in again.stderr
    assert "the token 'manifests of june 2026' and policy" in refusal(
        cluster("scan", *words, "--policy", "card")
    )


def test_a_folder_is_an_output_for_any_source(
    cluster: Command, photographs: Photographs, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    said = cluster.scan(str(photographs(6)), "--output", str(folder))
    lines = lines_in(folder)
    assert len(lines) == 6
    assert {line["fakesweep-metadata"]["scan_id"] for line in lines.values()} == {said["scan_id"]}
    assert "is not empty" in refusal(cluster("scan", str(photographs(1)), "--output", str(folder)))


def test_a_scan_on_the_local_stack_ends_when_its_output_is_complete(
    local: Command, photographs: Photographs, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    said = local.scan(str(photographs(4)), "--output", str(folder))
    assert len(lines_in(folder)) == 4
    assert said["output"]["lines"] == 4
    assert said["output"]["ended_at"] is not None
    page = local.ok("status", str(said["scan_id"]))
    assert f"output     {folder} on " in page
    assert ": 4 lines in 1 parts, complete" in page


def test_an_output_that_cannot_be_finished_is_an_error_that_says_how_to_go_on(
    local: Command, local_ledger: Connection, photographs: Photographs, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    asked = text("SELECT max(scan_id) FROM outputs WHERE destination = :folder")
    scan = local.start("scan", str(photographs(200)), "--output", str(folder))

    def scan_id() -> int | None:
        found = local_ledger.execute(asked, {"folder": str(folder)}).scalar_one()
        return None if found is None else int(found)

    wait_until(lambda: scan_id() is not None, "the scan is asked for", 60)
    folder.rmdir()
    folder.write_text("in the way")
    _, errors = scan.communicate(timeout=120)
    assert scan.returncode == 1
    last = errors.splitlines()[-1]
    assert f"folder {folder} on " in last
    assert f"every verdict of scan {scan_id()} is stored" in last
    assert f"`fakesweep resume {scan_id()}` writes its output on" in last
    folder.unlink()
    folder.mkdir()
    local.ok("resume", str(scan_id()))
    assert len(lines_in(folder)) == 200
