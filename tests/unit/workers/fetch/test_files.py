import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakesweep.schema.failures import AccessDenied, ImageNotFound, ImageTooLarge, InvalidUri
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.uris import from_path
from fakesweep.workers.fetch import Fetcher, open_fetcher
from fakesweep.workers.fetch.body import read_pieces
from fakesweep.workers.fetch.retry import Deadline

NOBODY = 65_534


@pytest.fixture(autouse=True)
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow every file, as on a person's own machine."""
    monkeypatch.setenv("FAKESWEEP_FILE_ROOTS", "/")


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with open_fetcher(read_settings()) as fetcher:
        yield fetcher


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a limit of ten bytes."""
    monkeypatch.setenv("FAKESWEEP_MAX_IMAGE_BYTES", "10")
    return read_settings()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Folder with open access, read by a user other than root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        yield Path(folder)
        os.seteuid(user)


@pytest.mark.parametrize(
    "name", ["a.jpg", "a b%20.jpg", "z\n-\u00e9.jpg", os.fsdecode(b"\xff.jpg")]
)
def test_a_file_is_read_whole_whatever_its_name(
    fetcher: Fetcher, tmp_path: Path, name: str
) -> None:
    content = os.urandom(700_000)
    (tmp_path / name).write_bytes(content)
    assert fetcher.fetch(from_path(tmp_path / name)) == content


def test_an_empty_file_is_no_failure_of_fetching(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert fetcher.fetch(from_path(tmp_path / "empty.jpg")) == b""


def test_a_missing_file_is_not_found(fetcher: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="no such file"):
        fetcher.fetch(from_path(tmp_path / "none.jpg"))


def test_a_file_below_a_file_is_not_found(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageNotFound):
        fetcher.fetch(from_path(tmp_path / "a.jpg" / "b.jpg"))


def test_a_name_no_file_system_takes_is_not_found(fetcher: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound):
        fetcher.fetch(from_path(tmp_path / ("n" * 300)))


def test_links_in_a_circle_are_not_found(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(ImageNotFound):
        fetcher.fetch(from_path(tmp_path / "a.jpg"))


def test_a_folder_is_no_image(fetcher: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="folder"):
        fetcher.fetch(from_path(tmp_path))


@pytest.mark.timeout(10)
def test_a_pipe_that_nobody_writes_to_blocks_nothing(fetcher: Fetcher, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageNotFound, match="regular"):
        fetcher.fetch(from_path(tmp_path / "pipe.jpg"))


def test_a_device_is_not_read(fetcher: Fetcher) -> None:
    with pytest.raises(ImageNotFound, match="regular"):
        fetcher.fetch("file:///dev/zero")


def test_a_file_nobody_may_read_is_denied(fetcher: Fetcher, open_folder: Path) -> None:
    secret = open_folder / "secret.jpg"
    os.seteuid(os.getuid())
    secret.write_bytes(b"x")
    secret.chmod(0)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    with pytest.raises(AccessDenied, match="may not read"):
        fetcher.fetch(from_path(secret))


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_too_large(
    small: Settings, tmp_path: Path
) -> None:
    (tmp_path / "fits.jpg").write_bytes(bytes(10))
    (tmp_path / "large.jpg").write_bytes(bytes(11))
    with open_fetcher(small) as fetcher:
        assert fetcher.fetch(from_path(tmp_path / "fits.jpg")) == bytes(10)
        with pytest.raises(ImageTooLarge, match="FAKESWEEP_MAX_IMAGE_BYTES"):
            fetcher.fetch(from_path(tmp_path / "large.jpg"))


def test_a_body_that_grows_while_it_is_read_is_too_large(small: Settings) -> None:
    with pytest.raises(ImageTooLarge):
        read_pieces(lambda _: b"more", small, Deadline(60))


@pytest.mark.parametrize("uri", ["", "a.jpg", "gs://bucket/a.jpg", "http://host/\ud800", "s3://b"])
def test_what_is_no_uri_is_invalid(fetcher: Fetcher, uri: str) -> None:
    with pytest.raises(InvalidUri):
        fetcher.fetch(uri)


def test_boto3_is_not_imported_for_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    code = (
        "import sys; from fakesweep.schema.settings import read_settings; "
        "from fakesweep.workers.fetch import open_fetcher\n"
        "with open_fetcher(read_settings()) as fetcher: fetcher.fetch(sys.argv[1])\n"
        "sys.exit(' '.join({'boto3', 'botocore'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, from_path(tmp_path / "a.jpg")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
