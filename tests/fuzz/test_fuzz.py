"""Short form of `python -m tests.fuzz`, and tests of its parts."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from fakesweep.schema.settings import Settings
from fakesweep.workers.process.startup import open_work
from tests.fuzz.mutators import broken
from tests.fuzz.pieces import pieces, with_checksums
from tests.fuzz.seeds import seeds
from tests.fuzz.sweep import sweep


@pytest.fixture(scope="module")
def sound() -> list[bytes]:
    return seeds()


def test_each_broken_file_ends_as_one_row_with_the_right_code(
    sound: list[bytes], database_url: str, engine: Engine, tmp_path: Path
) -> None:
    contents = [broken(20, number, sound) for number in range(400)]
    settings = Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=2,
        file_roots=(tmp_path,),
    )
    with open_work(settings) as work:
        tally = sweep(tmp_path / "broken", contents, engine, work)
    assert tally.faults == []
    assert tally.files == 400 + 25
    assert {"classified", "corrupt", "not_an_image"} <= tally.endings.keys()


def test_the_same_seed_breaks_the_same_files(sound: list[bytes]) -> None:
    first, again, other = ([broken(seed, n, sound) for n in range(50)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_file_cut_into_its_pieces_is_whole_when_they_are_joined(sound: list[bytes]) -> None:
    for content in sound:
        assert b"".join(pieces(content)) == content
        assert len(pieces(content)) > 1


def test_checksums_are_made_right_and_nothing_else_is_touched(sound: list[bytes]) -> None:
    for content in sound:
        assert with_checksums(content) == content
    [png, *_] = [content for content in sound if content.startswith(b"\x89PNG")]
    spoilt = bytearray(png)
    spoilt[29] ^= 0xFF
    assert with_checksums(bytes(spoilt)) == png
