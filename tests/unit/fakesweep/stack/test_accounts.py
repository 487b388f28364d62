import os
import stat
from pathlib import Path

import pytest

from fakesweep.stack.accounts import Account, open_private, open_tree, open_way, write_private

STRANGER = Account(65534, 65534)


def test_the_folders_above_become_passable_but_not_listable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    open_way(closed / "inner", STRANGER)
    assert _mode(closed) == 0o701


def test_folders_the_account_owns_stay_as_they_are(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    open_way(own / "inner", Account(os.getuid(), os.getgid()))
    assert _mode(own) == 0o700


def test_the_callers_own_account_opens_nothing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    open_way(closed / "inner", None)
    open_tree(closed, None)
    assert _mode(closed) == 0o700


def test_a_tree_of_a_strict_umask_becomes_readable_and_executable(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    for name, mode in (("bin/program", 0o700), ("library", 0o600)):
        (tree / name).touch()
        (tree / name).chmod(mode)
    for folder in (tree / "bin", tree):
        folder.chmod(0o700)
    open_tree(tree, STRANGER)
    assert [_mode(tree / name) for name in ("", "bin", "bin/program", "library")] == [
        0o705, 0o705, 0o705, 0o604
    ]  # fmt: skip


def test_a_private_file_takes_the_place_of_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)
    with open_private(link, None) as written:
        written.write(b"mine")
    assert target.read_text() == "precious"
    assert not link.is_symlink()
    assert _mode(link) == 0o600


@pytest.mark.parametrize("before", [None, "old and longer"])
def test_a_private_file_is_replaced_whole(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "file"
    if before:
        path.write_text(before)
    write_private(path, "new", None)
    assert path.read_text() == "new"
    assert _mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
