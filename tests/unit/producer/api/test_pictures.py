"""Store of pictures: writable, and readable for workers."""

from pathlib import Path

import pytest

from fakesweep.producer.api.pictures import open_pictures
from fakesweep.schema.errors import SettingsError
from fakesweep.schema.settings import Settings


def refused(**given: object) -> str:
    with pytest.raises(SettingsError) as caught, open_pictures(Settings.model_validate(given)):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_place_there_are_none() -> None:
    with open_pictures(Settings()) as pictures:
        assert pictures is None


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    place = tmp_path / "new" / "pictures"
    with open_pictures(Settings(api_pictures=str(place), file_roots=(tmp_path,))) as pictures:
        assert pictures is not None
        assert place.is_dir()


def test_a_folder_that_workers_do_not_read_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    for place in (outside, inside / "link", inside / ".." / "outside", Path(f"{inside}-not")):
        assert "FAKESWEEP_FILE_ROOTS" in refused(api_pictures=str(place), file_roots=(inside,))
    assert "FAKESWEEP_FILE_ROOTS" in refused(api_pictures=str(inside))


def test_a_bucket_that_is_not_allowed_is_refused() -> None:
    said = refused(api_pictures="s3://elsewhere/pictures", buckets=("uploads",))
    assert "FAKESWEEP_BUCKETS does not name bucket 'elsewhere'" in said


@pytest.mark.parametrize("place", ["-", "https://example.com/", "s3://", "s3://a"])
def test_what_is_no_place_is_refused(place: str) -> None:
    assert refused(api_pictures=place).startswith("FAKESWEEP_API_PICTURES cannot be used: ")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    said = refused(api_pictures=str(tmp_path / "file"), file_roots=(tmp_path,))
    assert said.startswith("FAKESWEEP_API_PICTURES cannot be used: ")
