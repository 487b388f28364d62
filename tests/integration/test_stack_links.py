"""A home that others have a hand in: their folders, their links, what a lock of theirs names."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from fakesweep.schema.errors import StackError
from fakesweep.schema.settings import Settings
from fakesweep.stack import cluster, find_stack, start_stack, stop_stack, used_stack, uses

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of others")

LOCK = "{pid}\n{data}\n0\n5432\n{folder}\n"


def _use(settings: Settings) -> None:
    with used_stack(settings, "producer"):
        pass


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
@pytest.mark.parametrize("call", [start_stack, find_stack, stop_stack, _use])
def test_a_home_that_others_may_write_to_is_not_used(
    home: Path, call: Callable[[Settings], object], mode: int
) -> None:
    home.chmod(mode)
    with pytest.raises(StackError, match=r"others may write to it, which `chmod go-w` ends"):
        call(Settings(home=home))
    assert list(home.iterdir()) == []


@as_root
@pytest.mark.parametrize("call", [start_stack, find_stack, stop_stack, _use])
def test_a_home_of_another_user_is_not_used(
    tmp_path: Path, home: Path, call: Callable[[Settings], object]
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(gettempdir()) and folder != Path(gettempdir()):
            folder.chmod(0o755)
    home.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(StackError, match="another user's"):
            call(Settings(home=home))
    finally:
        os.seteuid(0)


@as_root
@pytest.mark.parametrize("name", ["at-work", "logs", "postgres", "postgres.unfinished"])
@pytest.mark.parametrize("call", [start_stack, stop_stack, _use])
def test_root_follows_no_link_that_the_owner_of_a_home_put_there(
    tmp_path: Path, home: Path, call: Callable[[Settings], object], name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (home / name).symlink_to(victim)
    os.chown(home / name, NOBODY, NOBODY, follow_symlinks=False)
    os.chown(home, NOBODY, NOBODY)
    with pytest.raises(StackError, match="root follows no link of another user"):
        call(Settings(home=home))
    assert victim.stat().st_uid == 0
    assert list(victim.iterdir()) == []


@as_root
def test_who_is_at_work_gives_away_no_folder_behind_a_link(tmp_path: Path, home: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    os.chown(home, NOBODY, NOBODY)
    (home / "at-work").symlink_to(victim)
    with pytest.raises(OSError, match="at-work"), uses.in_use(home, "producer"):
        pass
    assert victim.stat().st_uid == 0


def test_a_lock_that_is_a_link_is_replaced_and_not_written_through(
    tmp_path: Path, home: Path
) -> None:
    (home / "postgres").mkdir()
    victim = tmp_path / "victim"
    victim.write_text(LOCK.format(pid=1, data=home, folder="/nowhere"))
    before = victim.read_text()
    (home / "postgres" / "postmaster.pid").symlink_to(victim)
    cluster.clear_stale_lock(home)
    assert victim.read_text() == before
    assert not (home / "postgres" / "postmaster.pid").is_symlink()
    assert (home / "postgres" / "postmaster.pid").read_text().endswith("/nowhere\n")


@as_root
def test_a_lock_names_no_socket_of_another_account_to_be_removed(
    tmp_path: Path, home: Path
) -> None:
    (home / "postgres").mkdir()
    os.chown(home / "postgres", NOBODY, NOBODY)
    (tmp_path / "theirs").mkdir()
    socket = tmp_path / "theirs" / ".s.PGSQL.5432"
    socket.touch()
    lock = LOCK.format(pid=1, data=home, folder=socket.parent)
    (home / "postgres" / "postmaster.pid").write_text(lock)
    cluster.clear_stale_lock(home)
    assert socket.exists()
