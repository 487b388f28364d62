import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakesweep.schema.settings import Settings
from fakesweep.workers.fetch import open_fetcher
from fakesweep.workers.fetch.side_by_side import SideBySide
from fakesweep.workers.sandbox import process
from fakesweep.workers.sandbox.allocator import write_whole
from fakesweep.workers.sandbox.losses import POSITION
from tests.support.batches import uris_of
from tests.support.photographs import folder_of_photographs


@pytest.fixture(autouse=True)
def _own_limit() -> Iterator[None]:
    """What a loader sets for itself here is set for the process that runs the tests."""
    before = resource.getrlimit(resource.RLIMIT_CPU)
    yield
    resource.setrlimit(resource.RLIMIT_CPU, before)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_replies_are_grouped_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("fakesweep.workers.sandbox.process.time.monotonic", clock)

    def replies() -> Iterator[dict[str, Any]]:
        for number in range(9):
            clock.now += process.GATHERED_SECONDS * (2 if number in {4, 7} else 0.1)
            yield {"number": number}

    groups = [[reply["number"] for reply in group] for group in process.gathered(replies())]
    assert groups == [[0, 1, 2, 3, 4], [5, 6, 7], [8]]
    assert list(process.gathered(iter(()))) == []


def _replies(settings: Settings, tmp_path: Path, *requests: dict[str, Any]) -> list[Any]:
    """What a loader of these settings says to each request."""
    with _loader(settings, tmp_path) as opened:
        return [list(opened.replies(request)) for request in requests]


@contextmanager
def _loader(settings: Settings, tmp_path: Path) -> Iterator[process.Loader]:
    """A loader without a process of its own."""
    with (
        open_fetcher(settings) as fetcher,
        (tmp_path / "pixels").open("w+b") as pixels,
        (tmp_path / "place").open("w+b") as place,
    ):
        fetches = SideBySide(fetcher.fetch, settings.fetch_concurrency, 60)
        yield process.Loader(settings, fetches, pixels.fileno(), place.fileno())


def test_images_that_do_not_fit_into_a_loader_are_put_off(tmp_path: Path) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 6))
    tight = Settings(file_roots=(tmp_path,)).model_copy(
        update={"loader_memory_bytes": 4_000, "fetch_concurrency": 1}
    )
    [replies] = _replies(tight, tmp_path, {"fetch": uris})
    assert [reply["number"] for reply in replies] == list(range(6))
    assert "sha256" in replies[0]
    assert replies[-1] == {"number": 5, "postponed": True}


def test_images_whose_pixels_do_not_fit_into_a_loader_are_put_off(tmp_path: Path) -> None:
    uris = uris_of(folder_of_photographs(tmp_path / "in", 6))
    pixels_bytes = 48 * 40 * 3
    tight = Settings(file_roots=(tmp_path,)).model_copy(
        update={"loader_memory_bytes": 4 * 3 * pixels_bytes}
    )
    [_, first, second] = _replies(
        tight,
        tmp_path,
        {"fetch": uris},
        {"decode": [4, 0, 5, 1, 2, 3], "steps": [None]},
        {"decode": [2, 3], "steps": [None]},
    )
    put_off = [reply["number"] for reply in first if reply.get("postponed")]
    assert put_off == [2, 3]
    assert [reply["content"]["width"] for reply in first[:4]] == [48] * 4
    assert [(reply["number"], reply["pixels"][0]["offset"]) for reply in second] == [
        (2, 0), (3, pixels_bytes),
    ]  # fmt: skip


def test_processor_time_is_counted_anew_for_each_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.now = 10_000.5
    monkeypatch.setattr("fakesweep.workers.sandbox.process.time.process_time", clock)
    uris = uris_of(folder_of_photographs(tmp_path / "in", 2))
    settings = Settings(
        file_roots=(tmp_path,), decode_timeout_seconds=7, fetch_deadline_seconds=200
    )
    limits: list[int] = []
    with _loader(settings, tmp_path) as opened:
        for request in ({"fetch": uris}, {"decode": [0, 1], "steps": [None]}):
            for _ in opened.replies(request):
                limits.append(resource.getrlimit(resource.RLIMIT_CPU)[0])
                clock.now += 5
    assert limits == [10_201, 10_201, 10_018, 10_023]


def test_a_loader_notes_which_image_it_is_at(tmp_path: Path) -> None:
    settings = Settings(file_roots=(tmp_path,))
    noted: list[int] = []
    with _loader(settings, tmp_path) as opened:
        list(opened.replies({"fetch": uris_of(folder_of_photographs(tmp_path / "in", 3))}))
        replies = opened.replies({"decode": [2, 0, 1], "steps": [None]})
        noted.extend(POSITION.unpack((tmp_path / "place").read_bytes())[0] for _ in replies)
    assert noted == [2, 0, 1]


def test_pixels_are_written_whole_where_the_system_takes_them_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, bytes(data[:1000]), at))
    pixels = np.arange(48 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 48, 3)
    with (tmp_path / "pixels").open("w+b") as file:
        write_whole(file.fileno(), pixels.reshape(-1).data, 17)
    assert (tmp_path / "pixels").read_bytes()[17:] == pixels.tobytes()
