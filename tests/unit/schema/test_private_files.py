import os
import tempfile
from pathlib import Path

import pytest

from fakesweep.foreground.worker_process import _new_log
from fakesweep.schema.errors import StackError
from fakesweep.schema.private_files import new_file, own_folder, runtime_folder, runtime_folders

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of others")
NOBODY = 65_534


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path / f"fakesweep-{os.geteuid()}"


def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int = 0o700) -> Path:
    folder = tmp_path / "session"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_a_folder_of_ones_own_is_made_for_this_user_alone(tmp_path: Path) -> None:
    made = own_folder(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert own_folder(made) == made


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777, 0o740, 0o701])
def test_a_folder_that_others_can_enter_is_not_trusted(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(PermissionError, match="not a private folder"):
        own_folder(tmp_path / "open")


def test_a_folder_of_ones_own_that_is_open_can_be_closed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o775)
    assert own_folder(tmp_path / "logs", close=True).stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "logs")
    with pytest.raises(PermissionError):
        own_folder(tmp_path / "link", close=True)


def test_a_link_is_no_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(PermissionError):
        own_folder(tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="dangling"):
        own_folder(tmp_path / "dangling")


@needs_root
def test_a_folder_of_another_account_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    with pytest.raises(PermissionError):
        own_folder(tmp_path / "theirs")


def test_a_new_file_follows_no_link_and_replaces_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    for name in ("victim", "link", "dangling"):
        with pytest.raises(FileExistsError):
            new_file(tmp_path / name)
    assert victim.read_text() == "kept"
    assert not (tmp_path / "made").exists()
    with new_file(tmp_path / "new") as written:
        written.write(b"said")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_runtime_files_lie_in_the_sessions_folder(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime_folder() == temporary
    folder = session(tmp_path, monkeypatch)
    assert runtime_folder() == folder / "fakesweep"
    assert runtime_folders() == [folder / "fakesweep", temporary], "as other sessions have none"


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_session_folder_that_is_open_to_others_is_passed_over(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    session(tmp_path, monkeypatch, mode)
    assert runtime_folder() == temporary


def test_a_temporary_folder_that_somebody_made_first_is_not_used(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary.mkdir()
    temporary.chmod(0o777)
    with pytest.raises(PermissionError, match="remove it"):
        runtime_folder()
    folder = session(tmp_path, monkeypatch)
    assert runtime_folder() == folder / "fakesweep"


@needs_root
def test_roots_worker_logs_into_no_folder_of_another_account(tmp_path: Path) -> None:
    home, victim = tmp_path / "home", tmp_path / "victim"
    (home / "logs").mkdir(parents=True)
    os.chown(home / "logs", NOBODY, NOBODY)
    (home / "logs" / "worker-1.log").symlink_to(victim)
    log, written = _new_log(home)
    written.close()
    assert log.parent == home / "logs-0"
    assert log.stat().st_mode & 0o777 == 0o600
    assert not victim.exists()


def test_a_log_folder_that_is_a_link_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").symlink_to(tmp_path)
    with pytest.raises(StackError, match=r"log cannot be written .* set FAKESWEEP_HOME"):
        _new_log(tmp_path)
