import inspect
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakesweep.producer.sources import check_source, list_entries, list_images
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.ledger.scans.scans import LeftOut, ListedImage
from fakesweep.schema.selection import Selection, suffixes_of
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import from_path, path_of, to_path

NOBODY = 65_534


def listed(folder: Path, cursor: str | None = None) -> list[str]:
    """Return the relative paths of a folder's listing."""
    images = list_images(str(folder), cursor, read_settings())
    return [str(to_path(image.uri).relative_to(folder)) for image in images]


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def test_images_are_listed_from_every_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "a/z.png", "a/b/c/d.webp", "a.jpg", "a-b.jpg", "c/1.heic")
    assert listed(tmp_path) == [
        "a-b.jpg", "a.jpg", "a/b/c/d.webp", "a/z.png", "b.jpg", "c/1.heic",
    ]  # fmt: skip


def test_only_names_that_end_like_an_image_count_in_any_case(tmp_path: Path) -> None:
    write(tmp_path, "a.JPG", "b.Jpeg", "c.txt", "d", "e.jpg.bak", "f.AVIF", "jpg", ".png")
    assert listed(tmp_path) == [".png", "a.JPG", "b.Jpeg", "f.AVIF"]


def test_hidden_files_and_folders_count(tmp_path: Path) -> None:
    write(tmp_path, ".hidden/a.jpg", ".b.jpg")
    assert listed(tmp_path) == [".b.jpg", ".hidden/a.jpg"]


@pytest.mark.parametrize(
    "name", ["-rf.jpg", "line\nbreak.jpg", "a b%20#?.jpg", os.fsdecode(b"\xff\xfe.jpg"), "日本.jpg"]
)
def test_any_file_name_makes_a_uri_that_can_be_stored(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.uri.isascii()
    assert image.cursor.isascii()
    assert to_path(image.uri) == tmp_path / name


def test_size_and_time_come_along(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", (1_000_000_000, 1_000_000_000))
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.size_bytes == 5
    assert image.modified_at == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.jpg").symlink_to(tmp_path / "real")
    (tmp_path / "file.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    assert listed(tmp_path) == ["file.jpg", "real/a.jpg"]


def test_a_link_that_leads_nowhere_is_listed_so_that_it_is_counted(tmp_path: Path) -> None:
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.size_bytes is None


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert listed(tmp_path / "link") == ["a.jpg"]


def test_links_to_themselves_and_in_circles_are_images_that_fail(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "z.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "one.jpg").symlink_to("two.jpg")
    (tmp_path / "two.jpg").symlink_to("one.jpg")
    assert listed(tmp_path) == ["a.jpg", "one.jpg", "self.jpg", "two.jpg", "z.jpg"]
    check_source(str(tmp_path), read_settings())


def left_out(folder: Path, selection: Selection = Selection()) -> dict[str, int]:  # noqa: B008
    """Return the number of excluded entries by reason."""
    entries = list_entries(str(folder), None, read_settings(), selection)
    return dict(Counter(one.reason.value for one in entries if isinstance(one, LeftOut)))


def test_excluded_entries_are_counted_by_reason(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "notes.txt", "film.MP4", "unknown", "some.thing")
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "up.jpg").symlink_to(tmp_path)
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    (tmp_path / "circle").symlink_to("circle")
    assert listed(tmp_path) == ["a.jpg"]
    assert left_out(tmp_path) == {
        "other_suffix": 2, "not_an_image": 2, "special_file": 2, "linked_folder": 2,
        "broken_link": 2,
    }  # fmt: skip


JPEG = b"\xff\xd8\xff\xe0 and so on"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_where_a_name_says_nothing_the_first_bytes_do(tmp_path: Path) -> None:
    names = ["a.mpo", "b.jif", "c.jpg_large", "d.jpg ", "upload", "e.2024", ".hidden", "é.jpg~"]
    for name in names:
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "photo").write_bytes(HEIC)
    for name in ("film", "text.2024", "empty", "half.jpg_large"):
        (tmp_path / name).write_bytes({"film": b"\0\0\0\x18ftypisom", "empty": b""}.get(name, b"x"))
    (tmp_path / "link").symlink_to("upload")
    (tmp_path / "picture.txt").write_bytes(JPEG)
    assert set(listed(tmp_path)) == {*names, "photo", "link"}
    assert left_out(tmp_path) == {"not_an_image": 4, "other_suffix": 1}


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("jpg", {"a.jpg", "B.JPG"}),
        (".jpg, txt", {"a.jpg", "B.JPG", "notes.txt"}),
        ("none", {"upload"}),
        ("all", {"a.jpg", "B.JPG", "notes.txt", "upload", "c.png"}),
    ],
)
def test_chosen_suffixes_count_instead(tmp_path: Path, said: str, taken: set[str]) -> None:
    for name in ("a.jpg", "B.JPG", "notes.txt", "upload", "c.png"):
        (tmp_path / name).write_bytes(JPEG)
    chosen = Selection(suffixes=suffixes_of(said))
    entries = list_entries(str(tmp_path), None, read_settings(), chosen)
    images = [to_path(one.uri).name for one in entries if isinstance(one, ListedImage)]
    assert set(images) == taken
    assert sum(left_out(tmp_path, chosen).values()) == 5 - len(taken)


@pytest.mark.parametrize("said", ["", ",", "jpg,,png", "tar.gz", "a b"])
def test_an_invalid_suffix_is_refused(said: str) -> None:
    with pytest.raises(SourceError, match="names no suffixes"):
        suffixes_of(said)


@pytest.mark.parametrize("letters", ["水墨画" * 28, "a\n" * 100, "é" * 120])
def test_a_long_path_of_letters_that_are_encoded_is_a_file_like_any_other(
    tmp_path: Path, letters: str
) -> None:
    write(tmp_path, "/".join([letters] * 4) + "/a.jpg")
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.unreadable is None
    assert image.size_bytes
    assert to_path(image.uri) == tmp_path / "/".join([letters] * 4) / "a.jpg"


def deep_folder(root: Path, levels: int) -> None:
    """Make nested folders with an image in each, deeper than the longest path."""
    place = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 250, dir_fd=place)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
        for name in ("a.jpg", "b" * 240 + ".jpg"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


def test_paths_too_long_to_be_opened_are_rows_that_name_them_and_stop_nothing(
    tmp_path: Path,
) -> None:
    deep_folder(tmp_path, 20)
    write(tmp_path, "z.jpg")
    images = list(list_images(str(tmp_path), None, read_settings()))
    assert images[-1].uri == from_path(tmp_path / "z.jpg")
    bad = [image for image in images if image.unreadable is not None]
    assert 1 <= len(bad) <= 3
    for image in bad:
        assert "longer than 4095 bytes" in (image.unreadable or "")
        assert path_of(image.uri).startswith(f"{tmp_path}/dddd")  # type: ignore[union-attr]
    assert bad[-1].uri.endswith("/")
    assert len({image.uri for image in images}) == len(images)
    for number, image in enumerate(images, start=1):
        assert list(list_images(str(tmp_path), image.cursor, read_settings())) == images[number:]


def test_a_tree_deeper_than_pythons_stack_is_listed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write(tmp_path, "d/" * 150 + "a.jpg")
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    [image] = list_images(str(tmp_path), None, read_settings())
    assert image.uri.endswith("/d/a.jpg")


def test_listing_goes_on_behind_a_file_that_is_gone_since(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b/1.jpg", "b/2.jpg", "c.jpg")
    images = list(list_images(str(tmp_path), None, read_settings()))
    (tmp_path / "b" / "1.jpg").unlink()
    assert listed(tmp_path, images[1].cursor) == ["b/2.jpg", "c.jpg"]


NAMES = st.binary(min_size=1, max_size=4).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)


@settings(max_examples=25, deadline=None, database=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8))
def test_listing_from_any_cursor_is_the_rest_of_the_listing(paths: set[tuple[bytes, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for *parents, name in paths:
            place = Path(folder, *(os.fsdecode(parent + b"-") for parent in parents))
            place.mkdir(parents=True, exist_ok=True)
            (place / os.fsdecode(name + b".jpg")).touch()
        images = list(list_images(folder, None, read_settings()))
        assert len(images) == len({image.uri for image in images}) == len(paths)
        for number, image in enumerate(images, start=1):
            assert list(list_images(folder, image.cursor, read_settings())) == images[number:]


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt", "deep/more.doc")
    with pytest.raises(SourceError, match="holds no image"):
        check_source(str(tmp_path), read_settings())


def test_a_folder_with_an_image_far_below_passes(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/d.jpg")
    check_source(str(tmp_path), read_settings())


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        check_source(str(tmp_path / "none"), read_settings())
    with pytest.raises(SourceError, match="does not exist"):
        check_source(str(tmp_path / "none.csv"), read_settings())


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Folder with an image and an unreadable subfolder, seen by an unprivileged user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        write(folder, "a.jpg", "closed/b.jpg")
        (folder / "closed").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
        os.seteuid(user)
        (folder / "closed").chmod(0o700)


def test_a_folder_that_may_not_be_entered_is_a_row_and_the_rest_is_listed(
    closed_folder: Path,
) -> None:
    (closed_folder / "into.jpg").symlink_to(closed_folder / "closed" / "b.jpg")
    (closed_folder / "into").symlink_to(closed_folder / "closed" / "b.jpg")
    images = list(list_images(str(closed_folder), None, read_settings()))
    assert [str(to_path(image.uri).relative_to(closed_folder)) for image in images] == [
        "a.jpg", "closed", "into", "into.jpg",
    ]  # fmt: skip
    assert images[1].code is FailureCode.ACCESS_DENIED
    assert "Permission denied" in (images[1].unreadable or "")
    assert "nothing in it was listed" in (images[1].unreadable or "")
    rest = list(list_images(str(closed_folder), images[1].cursor, read_settings()))
    assert rest == images[2:]
    with pytest.raises(SourceError, match="Permission denied"):
        check_source(str(closed_folder / "closed"), read_settings())


def test_a_file_that_cannot_be_looked_into_is_listed_so_that_it_is_counted(
    closed_folder: Path,
) -> None:
    os.seteuid(os.getuid())
    (closed_folder / "secret").write_bytes(b"x")
    (closed_folder / "secret").chmod(0)
    os.seteuid(NOBODY)
    names = [
        to_path(one.uri).name for one in list_images(str(closed_folder), None, read_settings())
    ]
    assert names == ["a.jpg", "closed", "secret"]


def test_one_file_is_one_image_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "upload")
    source = str(tmp_path / "upload")
    check_source(source, read_settings())
    [image] = list_images(source, None, read_settings())
    assert image.uri == from_path(tmp_path / "upload")
    assert image.size_bytes == 6
    assert list(list_images(source, image.cursor, read_settings())) == []


def test_a_pipe_is_refused_with_the_way_to_use_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(SourceError, match="fakesweep scan -"):
        check_source(str(tmp_path / "list.txt"), read_settings())
