"""File roots: a worker reads files below the allowed folders only, after links."""

import os
from pathlib import Path

import pytest

from fakesweep.schema.failures import AccessDenied, ImageFailure, ImageNotFound
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path
from fakesweep.workers.fetch import files, open_fetcher

INSIDE, SECRET = b"an image inside", b"a secret outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder with an image, beside a forbidden folder."""
    (tmp_path / "photos" / "2026").mkdir(parents=True)
    (tmp_path / "photos" / "2026" / "a.jpg").write_bytes(INSIDE)
    (tmp_path / "photos-of-others").mkdir()
    (tmp_path / "photos-of-others" / "secret.jpg").write_bytes(SECRET)
    return tmp_path / "photos"


def fetched(uri: str, *roots: Path) -> bytes:
    with open_fetcher(Settings(file_roots=roots)) as fetcher:
        return fetcher.fetch(uri)


def refusal(uri: str, *roots: Path) -> str:
    with pytest.raises(AccessDenied) as refused:
        fetched(uri, *roots)
    return str(refused.value)


def test_no_file_is_read_until_folders_are_allowed(root: Path) -> None:
    assert refusal(from_path(root / "2026" / "a.jpg")).endswith("FAKESWEEP_FILE_ROOTS is unset")


def test_a_file_below_any_allowed_folder_is_read(root: Path, tmp_path: Path) -> None:
    assert fetched(from_path(root / "2026" / "a.jpg"), tmp_path / "none", root) == INSIDE
    assert fetched(from_path(root / "2026" / "a.jpg"), Path("/")) == INSIDE


def test_a_folder_whose_name_only_begins_like_an_allowed_one_is_outside(root: Path) -> None:
    assert "outside" in refusal(from_path(root.parent / "photos-of-others" / "secret.jpg"), root)


@pytest.mark.parametrize(
    "path",
    ["../photos-of-others/secret.jpg", "2026/../../photos-of-others/secret.jpg",
     "%2e%2e/photos-of-others/secret.jpg", "..%2Fphotos-of-others%2Fsecret.jpg"],
)  # fmt: skip
def test_two_dots_do_not_lead_out(root: Path, path: str) -> None:
    assert "outside" in refusal(f"{from_path(root)}/{path}", root)


def test_links_do_not_lead_out_but_may_lead_around(root: Path) -> None:
    (root / "file.jpg").symlink_to(root.parent / "photos-of-others" / "secret.jpg")
    (root / "folder").symlink_to(root.parent / "photos-of-others")
    (root / "twice").symlink_to(root / "folder")
    (root / "again").symlink_to("2026")
    for path in ("file.jpg", "folder/secret.jpg", "twice/secret.jpg"):
        assert "outside" in refusal(from_path(root / path), root)
    assert fetched(from_path(root / "again" / "a.jpg"), root) == INSIDE


def test_an_allowed_folder_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    for named in (tmp_path / "current", root):
        assert fetched(from_path(tmp_path / "current" / "2026" / "a.jpg"), named) == INSIDE
        assert fetched(from_path(root / "2026" / "a.jpg"), named) == INSIDE


def test_a_refusal_does_not_tell_whether_there_is_such_a_file(root: Path, tmp_path: Path) -> None:
    (root / "to-secret.jpg").symlink_to(tmp_path / "photos-of-others" / "secret.jpg")
    (root / "to-nothing.jpg").symlink_to(tmp_path / "photos-of-others" / "nothing.jpg")
    (root / "to-below.jpg").symlink_to(tmp_path / "photos-of-others" / "secret.jpg" / "x")
    os.mkfifo(tmp_path / "photos-of-others" / "pipe.jpg")
    outside = [tmp_path / "photos-of-others" / name for name in ("secret.jpg", "none", "pipe.jpg")]
    links = [root / name for name in ("to-secret.jpg", "to-nothing.jpg", "to-below.jpg")]
    paths = [*outside, *links, tmp_path, Path("/dev/zero"), Path("/proc/self/mem")]
    assert len({refusal(from_path(path), root) for path in paths}) == 1


def test_what_is_missing_inside_is_not_found(root: Path) -> None:
    (root / "gone.jpg").symlink_to(root / "never.jpg")
    for name in ("never.jpg", "gone.jpg", ""):
        with pytest.raises(ImageNotFound):
            fetched(from_path(root / name), root)


def test_a_link_swapped_after_the_check_gains_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = files._refuse_outside
    link = root / "link.jpg"
    link.symlink_to(root / "2026" / "a.jpg")

    def check_then_swap(real_path: str, roots: tuple[str, ...]) -> None:
        check(real_path, roots)
        link.unlink()
        link.symlink_to(root.parent / "photos-of-others" / "secret.jpg")

    monkeypatch.setattr(files, "_refuse_outside", check_then_swap)
    assert fetched(from_path(link), root) == INSIDE
    assert link.read_bytes() == SECRET


def test_a_folder_swapped_for_a_link_before_the_check_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open
    opened: list[int] = []

    def swap_then_open(path: str | Path, flags: int) -> int:
        if not opened:
            (root / "2026").rename(root / "moved")
            (root / "2026").symlink_to(root.parent / "photos-of-others")
        opened.append(flags)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", swap_then_open)
    with pytest.raises(ImageFailure, match="outside"):
        fetched(from_path(root / "2026" / "secret.jpg"), root)
    assert [bool(flags & os.O_PATH) for flags in opened] == [True]
