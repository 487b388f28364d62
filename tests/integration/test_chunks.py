"""Chunks of batches: loaded in parallel, yielded in order, each content scored once."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Connection, Engine, text

from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from fakesweep.workers.pipeline.batch import run_batch
from fakesweep.workers.pipeline.chunk import CHUNK_IMAGES, load
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreKey
from fakesweep.workers.pipeline.throughput import Stage
from fakesweep.workers.process.startup import open_work
from fakesweep.workers.sandbox.pool import open_loader_pool
from tests.support.batches import publish_scan, result_rows, uris_of
from tests.support.photographs import photograph
from tests.support.servers import wait_until
from tests.support.web_server import Answer, Request, WebServer, web_server

MIB = 1024**2
MODEL = "vit-tiny-cifake"


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://127.0.0.1:1/0",
        device="cpu",
        loaders=2,
        fetch_attempts=1,
        allow_networks=(ip_network("127.0.0.0/8"),),
        file_roots=(Path("/"),),
    )


@pytest.fixture
def work(settings: Settings) -> Iterator[Work]:
    with open_work(settings) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as opened:
        yield opened


def serving(
    server: WebServer,
    answering: Callable[[int], None],
    count: int,
    seed: Callable[[int], int] = lambda number: number,
) -> list[str]:
    """URIs of `count` photographs; before each answer `answering` is called with its number."""

    def answer(request: Request) -> Answer:
        number = int(request.path[1:-4])
        answering(number)
        return Answer(body=photograph(seed(number)))

    server.answer = answer
    return [f"{server.url}/{number}.jpg" for number in range(count)]


def test_chunks_of_one_batch_are_worked_on_side_by_side(
    work: Work, engine: Engine, server: WebServer
) -> None:
    together = threading.Barrier(2)

    def meet(number: int) -> None:
        if number % CHUNK_IMAGES == 0:
            together.wait(20)

    uris = serving(server, meet, CHUNK_IMAGES + 8)
    [message] = publish_scan(engine, uris)
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["uri"] for row in rows] == uris
    assert [row["failure_message"] for row in rows] == [None] * len(uris)
    assert not together.broken


def test_images_come_in_the_chunks_order_however_their_bytes_come(
    work: Work, engine: Engine, server: WebServer
) -> None:
    last_is_asked_for = threading.Event()

    def hold_back(number: int) -> None:
        if number == 7:
            last_is_asked_for.set()
        elif number < 3:
            assert last_is_asked_for.wait(20)

    [message] = publish_scan(engine, serving(server, hold_back, 8))
    loaded = load(message.images, dict([work.model_cache.model(MODEL)]), work, {}, Lane.BULK)
    assert tuple(loaded.contents) == message.images
    assert len(loaded.prepared) == 8


def _large_images(folder: Path, count: int) -> list[str]:
    """Write images of 48 MB each; all pixels of image n have the value n."""
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (4_000, 4_000), (number,) * 3).save(folder / f"{number}.bmp")
    return uris_of(folder)


def test_images_that_are_larger_together_than_a_loader_come_in_turn(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    uris = _large_images(tmp_path / "in", 5)
    tight = {"loader_memory_bytes": 512 * MIB, "fetch_concurrency": 1}
    [message] = publish_scan(engine, uris)
    with open_work(settings.model_copy(update=tight)) as work:
        run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["uri"] for row in rows] == uris
    assert [(row["failure_message"], row["width"]) for row in rows] == [(None, 4_000)] * 5


def test_pixels_that_are_larger_together_than_a_loader_come_in_turn(
    settings: Settings, tmp_path: Path
) -> None:
    for number in range(5):
        Image.new("RGB", (4_000, 4_000), (number,) * 3).save(tmp_path / f"{number}.png")
    tight = settings.model_copy(update={"loader_memory_bytes": 512 * MIB})
    with open_loader_pool(tight, 1) as opened, opened.one() as one:
        list(one.fetch(uris_of(tmp_path)))
        found = {}
        for reply, [pixels] in one.decode(range(5), [None]):
            assert pixels.shape == (4_000, 4_000, 3)
            found[reply["number"]] = set(np.unique(pixels))
    assert found == {number: {number} for number in range(5)}


def key_of(seed: int, work: Work) -> ScoreKey:
    row, _ = work.model_cache.model(MODEL)
    return hashlib.sha256(photograph(seed)).digest(), row


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM ledger.{table}")).scalar_one())


def scored_images(work: Work) -> int:
    return work.stages.counts().stages[Stage.DEVICE].images


def test_a_copy_in_a_later_chunk_of_its_batch_is_reused(
    work: Work, engine: Engine, server: WebServer
) -> None:
    last = CHUNK_IMAGES
    first_key = key_of(0, work)

    def hold_back(number: int) -> None:
        if number == last:
            wait_until(
                lambda: bool(work.score_cache.find([first_key])), "the first chunk is scored"
            )

    uris = serving(server, hold_back, last + 1, seed=lambda number: number % last)
    [message] = publish_scan(engine, uris)
    run_batch(message, work)
    rows = result_rows(engine, message.scan_id)
    assert [row["status"] for row in rows] == ["classified"] * last + ["reused"]
    assert rows[last]["p_fake"] == rows[0]["p_fake"]
    assert rows[last]["width"] == 48
    assert count(engine, "predictions") == last


@contextmanager
def scored_and_not_stored(
    work: Work, engine: Engine, server: WebServer
) -> Iterator[tuple[BatchMessage, str]]:
    """Yield a batch of one image whose rows cannot be stored in the context, and a copy's URI.

    Its row is locked once it has been claimed, which is before its image is asked for.
    """
    lock = text("SELECT 1 FROM ledger.batches WHERE batch_id = :batch_id FOR UPDATE")
    held: list[Connection] = []

    def hold(number: int) -> None:
        if number == 0:
            held.append(engine.connect())
            held[0].execute(lock, {"batch_id": message.batch_id})

    uri, copy = serving(server, hold, 2, seed=lambda _number: 7)
    [message] = publish_scan(engine, [uri])
    thread = threading.Thread(target=run_batch, args=(message, work))
    thread.start()
    try:
        key = key_of(7, work)
        wait_until(lambda: bool(work.score_cache.find([key])), "the first batch is scored")
        yield message, copy
        assert result_rows(engine, message.scan_id) == []
    finally:
        for connection in held:
            connection.close()
        thread.join()


def test_a_copy_in_another_batch_is_reused_and_stored_before_the_first_ones_rows_are(
    work: Work, engine: Engine, server: WebServer
) -> None:
    with scored_and_not_stored(work, engine, server) as (first, copy):
        [second] = publish_scan(engine, [copy])
        run_batch(second, work)
        [row] = result_rows(engine, second.scan_id)
        assert row["status"] == "reused"
        assert row["scores"]
        assert count(engine, "predictions") == 1
        assert scored_images(work) == 1, "no model ran for it"
    [stored] = result_rows(engine, first.scan_id)
    assert stored["status"] == "classified"
    assert (stored["p_fake"], stored["scores"]) == (row["p_fake"], row["scores"])
    assert count(engine, "predictions") == 1
    with engine.connect() as connection:
        [dimensions] = connection.execute(text("SELECT width, height FROM ledger.contents"))
    assert tuple(dimensions) == (48, 40)


def test_a_copy_that_another_model_has_yet_to_score_is_classified_and_keeps_the_scores_there_are(
    work: Work, engine: Engine, server: WebServer, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in (Path(__file__).parents[2] / "workers/checkpoints" / MODEL).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    with scored_and_not_stored(work, engine, server) as (_, copy):
        [second] = publish_scan(engine, [copy], (MODEL, str(other)))
        run_batch(second, work)
        rows = result_rows(engine, second.scan_id)
        assert {row["model"]: row["status"] for row in rows} == {
            MODEL: "classified", str(other): "classified",
        }  # fmt: skip
        assert all(row["scores"] for row in rows)
        assert count(engine, "predictions") == 2
        assert scored_images(work) == 2, "each model scored the content once"
    assert count(engine, "predictions") == 2
