import hashlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.corpus import BLOCK, Corpus, make_corpus


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(Corpus(BLOCK), tmp_path_factory.mktemp("corpora"))


def _is_whole(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


def test_a_hundred_photographs_hold_one_truncated_and_twenty_duplicates(photographs: Path) -> None:
    contents = [path.read_bytes() for path in sorted(photographs.iterdir())]
    assert len(contents) == 100
    assert sum(not _is_whole(content) for content in contents) == 1
    assert len({hashlib.sha256(content).digest() for content in contents}) == 80


def test_every_block_holds_the_same_shares() -> None:
    corpus = Corpus(300)
    for first in (0, 100, 200):
        block = range(first, first + BLOCK)
        twins = {index: corpus.duplicate_of(index) for index in block}
        cut = {index for index in block if corpus.is_truncated(index)}
        repeated = {index for index, twin in twins.items() if twin is not None}
        assert (len(repeated), len(cut)) == (20, 1)
        assert not cut & repeated
        for index, twin in twins.items():
            assert twin is None or (first <= twin < index and twin not in cut | repeated)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() -> None:
    assert Corpus(100).jpeg(7) == Corpus(5_000).jpeg(7)
    assert Corpus(100).jpeg(7) != Corpus(100, seed=2).jpeg(7)


def test_a_corpus_that_is_there_is_not_made_again(photographs: Path) -> None:
    first = next(iter(sorted(photographs.iterdir())))
    written = first.stat().st_mtime_ns
    assert make_corpus(Corpus(BLOCK), photographs.parents[1]) == photographs
    assert first.stat().st_mtime_ns == written
    described = json.loads((photographs.parent / "corpus.json").read_text())
    assert described["images"] == 100


def test_the_uniform_photographs_are_all_of_one_size_whole_and_different() -> None:
    corpus = Corpus(3, uniform=True, truncated_percent=0, duplicate_percent=0)
    contents = [corpus.jpeg(index) for index in range(3)]
    assert {Image.open(io.BytesIO(content)).size for content in contents} == {(500, 375)}
    assert all(map(_is_whole, contents))
    assert len(set(contents)) == 3
