"""Folder outputs: files are whole or missing."""

import os
from pathlib import Path

import pytest

from fakesweep.producer.outputs.folder import DRAFTS, Folder
from fakesweep.schema.errors import OutputError

NAME = "results/part-000001.jsonl"


def keep(folder: Folder, content: bytes) -> None:
    with folder.draft(NAME) as draft:
        draft.add(content)
        folder.keep(draft, NAME)


def names(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())


def test_a_file_has_its_name_only_once_it_is_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.draft(NAME) as draft:
        draft.add(b"one\n")
        assert not (tmp_path / NAME).exists()
        folder.keep(draft, NAME)
        assert (tmp_path / NAME).read_bytes() == b"one\n"
    assert (draft.lines, draft.size_bytes) == (1, 4)
    assert names(tmp_path) == [NAME]


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    flush, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        opened = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(f"flush {opened.relative_to(tmp_path).parts[0]}")
        flush(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    (tmp_path / "results").mkdir()
    keep(Folder(tmp_path), b"one\n")
    assert done == [f"flush {DRAFTS}", "rename", "flush results"]


def test_a_draft_that_is_not_kept_leaves_what_was_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keep(folder, b"before\n")
    with folder.draft(NAME) as draft:
        draft.add(b"half")
    assert (tmp_path / NAME).read_bytes() == b"before\n"
    assert names(tmp_path) == [NAME]


def test_the_orphans_of_a_killed_writer_go_with_the_next_draft_of_that_name(tmp_path: Path) -> None:
    (tmp_path / DRAFTS).mkdir()
    (tmp_path / DRAFTS / "part-000001.jsonl.killed").write_text("half")
    (tmp_path / DRAFTS / "part-000010.jsonl.other").write_text("half")
    keep(Folder(tmp_path), b"whole\n")
    assert names(tmp_path) == [f"{DRAFTS}/part-000010.jsonl.other", NAME]
    Folder(tmp_path).tidy()
    assert names(tmp_path) == [NAME]
    assert not (tmp_path / DRAFTS).exists()


def test_a_writer_that_was_taken_for_dead_cannot_keep_its_draft(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.draft(NAME) as late:
        late.add(b"late\n")
        keep(folder, b"whole\n")
        with pytest.raises(OutputError):
            folder.keep(late, NAME)
    assert (tmp_path / NAME).read_bytes() == b"whole\n"


def test_a_folder_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "unmounted"
    with pytest.raises(OutputError, match="No such file or directory"):
        keep(Folder(folder), b"one\n")
    assert not folder.exists()


@pytest.mark.parametrize("name", [DRAFTS, "results"])
def test_a_link_in_the_place_of_an_outputs_own_folder_is_not_followed(
    tmp_path: Path, name: str
) -> None:
    output, victim = tmp_path / "output", tmp_path / "victim"
    output.mkdir()
    victim.mkdir()
    (victim / "part-000001.jsonl.mine").write_text("kept")
    (output / name).symlink_to(victim)
    with pytest.raises(OutputError, match=rf"{name} is a link"):
        keep(Folder(output), b"one\n")
    Folder(output).tidy()
    assert names(victim) == ["part-000001.jsonl.mine"]
