"""Real folders: links, strange and long names, files that are no images."""

import os
import unicodedata
from pathlib import Path

from tests.acceptance.command import Command, counts
from tests.acceptance.conftest import Photographs

LONG = "水墨画" * 28
"""252 bytes, which percent-encoding makes 756."""


def test_every_file_of_a_strange_folder_is_a_row_by_its_name_or_counted(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(7)
    names = [
        "/".join([LONG] * 3) + "/a.jpg", "no suffix", "b.jpg_large", os.fsdecode(b"caf\xe9.jpg"),
        "line\nbreak.jpg", *(unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")),
    ]  # fmt: skip
    for place, name in zip(sorted(folder.iterdir()), names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        place.rename(folder / name)
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "notes.txt").write_text("no image")
    (folder / "unknown").write_text("no image")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    said = cluster.scan(str(folder))
    assert counts(said) == {"classified": 7, "failed": 1}
    assert said["failures"] == {"not_found": 1}
    assert said["left_out"] == {
        "linked_folder": 1, "not_an_image": 1, "other_suffix": 1, "special_file": 1,
    }  # fmt: skip
    paths = {row["path"] for row in cluster.results(said["scan_id"])}
    shown = {str(folder / name) for name in names} | {f"{folder}/self.jpg"}
    shown = {os.fsencode(path).decode("utf-8", "replace") for path in shown}
    assert {path.replace("\\351", "\ufffd") for path in paths} == shown
    page = cluster.ok("status", str(said["scan_id"]))
    assert "left out   linked_folder 1, not_an_image 1, other_suffix 1, special_file 1" in page


def test_patterns_match_what_people_see_and_those_that_never_do_are_said(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(3)
    _, umlaut, plate = sorted(folder.iterdir())
    umlaut.rename(folder / unicodedata.normalize("NFD", "Ümläut.jpg"))
    (folder / "glass plates").mkdir()
    plate.rename(folder / "glass plates" / "1.jpg")
    said = cluster.scan(str(folder), "--exclude", "*glass plates*", "--exclude", "*.webp")
    assert counts(said) == {"classified": 2}
    assert said["left_out"] == {"excluded": 1}
    assert said["unmatched_patterns"] == [{"option": "exclude", "pattern": "*.webp"}]
    told = cluster.ok("scan", str(folder), "--include", "*Ümläut*", "--include", "*.webp")
    assert "submitted 1 = " in told
    assert "no match   --include '*.webp'" in told


def test_to_include_what_is_not_there_is_an_error_that_says_so(
    cluster: Command, photographs: Photographs
) -> None:
    folder = str(photographs(2))
    for words in (["--include", "*glas plates*"], ["--include", "*.jpg", "--exclude", "*"]):
        done = cluster("scan", folder, *words)
        assert done.returncode == 1
        assert "took no image" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
        assert "submitted 0" in done.stdout
    detached = cluster("scan", folder, "--include", "*.webp", "--detach")
    assert detached.returncode == 1
    assert cluster("scan", folder, "--include", "*.jpg", "--since", "2099-01-01").returncode == 0


def test_suffixes_can_be_chosen(cluster: Command, photographs: Photographs) -> None:
    folder = photographs(2)
    first, second = sorted(folder.iterdir())
    first.rename(folder / "scan.raw2")
    (folder / "notes.txt").write_text("no image")
    said = cluster.scan(str(folder), "--suffixes", "raw2,txt")
    assert counts(said) == {"classified": 1, "failed": 1}
    assert said["left_out"] == {"other_suffix": 1}
    assert Path(cluster.results(said["scan_id"])[0]["path"]).name == "notes.txt"
    assert second.exists()
    assert cluster("scan", str(folder), "--suffixes", ",").returncode in (1, 2)


def test_files_named_one_by_one_are_one_source_and_fill_batches_as_a_folder_does(
    cluster: Command, photographs: Photographs
) -> None:
    folder = photographs(6)
    names = sorted(map(str, folder.iterdir()), reverse=True)
    said = cluster.scan(*names, names[0])
    assert counts(said) == {"classified": 6}
    assert said["sources"] == [f"7 files below {folder}"]
    assert said["left_out"] == {"repeated": 1}
    assert [row["path"] for row in cluster.results(said["scan_id"])] == names
    of_scan = f"WHERE scan_id = {said['scan_id']}"
    assert len(cluster.ask(f"SELECT batch_id FROM ledger.batches {of_scan}")) == 2
    again = cluster.scan(*names, "--token", f"files-{said['scan_id']}")
    assert (
        cluster.scan(*names, "--token", f"files-{said['scan_id']}")["scan_id"] == (again["scan_id"])
    )
    other = cluster("scan", *names[1:], "--token", f"files-{said['scan_id']}")
    assert other.returncode == 1
    missing = cluster("scan", *names, f"{folder}/gone.jpg")
    assert missing.returncode == 1
    assert "gone.jpg does not exist" in missing.stderr


def test_a_schedule_takes_files_one_by_one(cluster: Command, photographs: Photographs) -> None:
    folder = photographs(3)
    names = sorted(map(str, folder.iterdir()))
    cluster.ok("schedule", "add", "some-files", *names, "--cron", "0 3 1 1 *")
    assert f"3 files below {folder}" in cluster.ok("schedule", "show", "some-files")
    cluster.ok("schedule", "run-now", "some-files")
    found = cluster.ask(
        "SELECT cardinality(members) AS n FROM ledger.scan_sources ORDER BY scan_id DESC LIMIT 1"
    )
    assert found == [{"n": 3}]
    cluster.ok("schedule", "remove", "some-files")
    (scan,) = cluster.ask("SELECT max(scan_id) AS n FROM ledger.scans")
    cluster.ok("resume", str(scan["n"]))
