"""S3 events from a real SQS server, recorded as images of a real ledger."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine, text

from fakesweep.exits import Exit
from fakesweep.producer import backoff
from fakesweep.producer.resources import Producer, open_producer
from fakesweep.producer.uploads import sqs as sqs_module
from fakesweep.producer.uploads.event_listener import listen
from fakesweep.producer.uploads.sqs import Queue, SqsAway, open_client, received
from fakesweep.schema.errors import SourceError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import PREFIX, Settings
from fakesweep.schema.words import Lane
from tests.support.queues_server import (
    REGION,
    TEST_EVENT,
    SqsQueue,
    SqsServer,
    by_bridge,
    by_sns,
    event,
    sqs_server,
)
from tests.support.servers import wait_until

_IMAGES = "SELECT count(*) FROM ledger.images"


@pytest.fixture(scope="module")
def sqs() -> Iterator[SqsServer]:
    with sqs_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testtest")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(backoff, "LONGEST_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(sqs_module, "WAIT_SECONDS", 1)


@pytest.fixture
def queue(sqs: SqsServer, request: pytest.FixtureRequest) -> SqsQueue:
    name = "".join(letter for letter in request.node.name if letter.isalnum())[-80:]
    return sqs.create(name, VisibilityTimeout="1")


@pytest.fixture
def settings(database_url: str, broker_url: str, sqs: SqsServer) -> Settings:
    return Settings(
        database_url=database_url, broker_url=broker_url, sqs_endpoint_url=sqs.endpoint_url
    )


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with open_producer(settings, read_catalogue(None)) as opened:
        yield opened


@contextmanager
def listening(producer: Producer, queue: SqsQueue) -> Iterator[None]:
    """Run the listener on a thread within the context."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        listener = threads.submit(listen, producer, f"sqs://{queue.name}", stop)
        try:
            yield
        finally:
            stop.set()
        listener.result()


def one(engine: Engine, sql: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(sql)).scalar_one()


def column(engine: Engine, sql: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(text(sql)).scalars())


def await_empty(queue: SqsQueue) -> None:
    wait_until(lambda: queue.left() == 0, f"{queue.name} is empty", 60)


def await_images(engine: Engine, count: int) -> None:
    wait_until(lambda: int(str(one(engine, _IMAGES))) >= count, f"{count} images are recorded")


def check_each_once(engine: Engine, count: int) -> None:
    """Check that each object is one image, in a batch that counts it and can be worked on."""
    assert one(engine, _IMAGES) == count
    assert one(engine, "SELECT count(DISTINCT uri) FROM ledger.images") == count
    assert one(engine, "SELECT sum(image_count) FROM ledger.batches") == count
    miscounted = """SELECT count(*) FROM ledger.batches b WHERE image_count <>
        (SELECT count(*) FROM ledger.images i WHERE i.batch_id = b.batch_id)"""
    assert one(engine, miscounted) == 0
    states = "SELECT DISTINCT state::text FROM ledger.batches"
    assert set(column(engine, states)) <= {"recorded", "published"}


def test_events_are_recorded_in_the_live_lane_and_then_deleted(
    producer: Producer, queue: SqsQueue
) -> None:
    queue.send(
        TEST_EVENT,
        event("a b.jpg", "c.jpg"),
        by_sns(event("d.jpg")),
        by_bridge("e+f.jpg"),
        event("notes.txt"),
        event("gone.jpg", name="ObjectRemoved:Delete"),
    )
    with listening(producer, queue):
        await_empty(queue)
    assert column(producer.engine, "SELECT uri FROM ledger.images ORDER BY uri") == [
        "s3://photos/a b.jpg", "s3://photos/c.jpg", "s3://photos/d.jpg", "s3://photos/e+f.jpg",
    ]  # fmt: skip
    scans = "SELECT stream || ' ' || lane FROM ledger.scans"
    assert column(producer.engine, scans) == [f"events:{queue.name} live"]
    assert one(producer.engine, "SELECT count(*) FROM unreadable_messages") == 0
    assert producer.recorded.is_set(), "the service publishes at once"


def test_many_events_travel_in_few_batches(producer: Producer, queue: SqsQueue) -> None:
    queue.send(*(event(f"{number}.jpg") for number in range(100)))
    with listening(producer, queue):
        await_empty(queue)
    check_each_once(producer.engine, 100)
    assert int(str(one(producer.engine, "SELECT count(*) FROM ledger.batches"))) <= 20


def test_an_event_that_comes_twice_is_one_image_and_an_overwritten_object_is_two(
    producer: Producer, queue: SqsQueue
) -> None:
    with listening(producer, queue):
        queue.send(event("a.jpg"), event("a.jpg"), event("b.jpg", sequencer="1"))
        await_empty(queue)
        with producer.engine.begin() as connection:
            connection.execute(
                text("UPDATE ledger.scans SET created_at = now() - interval '1 day'")
            )
        queue.send(event("b.jpg", sequencer="2"), event("a.jpg"), event("b.jpg", sequencer="1"))
        await_empty(queue)
    assert column(producer.engine, "SELECT uri FROM ledger.images ORDER BY uri") == [
        "s3://photos/a.jpg", "s3://photos/b.jpg", "s3://photos/b.jpg",
    ]  # fmt: skip


def test_a_message_is_not_deleted_before_its_images_are_committed(
    producer: Producer, queue: SqsQueue
) -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with listening(producer, queue):
        with producer.engine.begin() as connection:
            connection.execute(text("LOCK TABLE ledger.images IN SHARE MODE"))
            queue.send(event("a.jpg"))
            wait_until(lambda: one(producer.engine, waits) == 1, "it is being recorded")
            assert queue.left() == 1
        await_empty(queue)
    check_each_once(producer.engine, 1)


def test_a_ledger_that_refuses_for_now_is_waited_for_and_nothing_is_deleted_meanwhile(
    producer: Producer, queue: SqsQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    with producer.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ledger.images RENAME TO images_away")
    with listening(producer, queue):
        queue.send(event("a.jpg"))
        wait_until(lambda: "awaited=ledger" in capfd.readouterr().out, "it waits")
        assert queue.left() == 1
        with producer.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE ledger.images_away RENAME TO images")
        await_empty(queue)
    check_each_once(producer.engine, 1)


def test_an_unreadable_event_is_set_aside_and_spoils_no_other(
    producer: Producer, queue: SqsQueue
) -> None:
    half = event("a.jpg", "b.jpg")
    del half["Records"][0]["s3"]["object"]["key"]
    queue.send("hello", {"Records": [{"eventName": "INSERT"}]}, half, event("c.jpg"))
    with listening(producer, queue):
        await_empty(queue)
    assert column(producer.engine, "SELECT uri FROM ledger.images ORDER BY uri") == [
        "s3://photos/b.jpg", "s3://photos/c.jpg",
    ]  # fmt: skip
    assert column(producer.engine, "SELECT DISTINCT queue FROM unreadable_messages") == [queue.name]
    assert column(producer.engine, "SELECT reason FROM unreadable_messages ORDER BY reason") == [
        "it is no event of S3: it lacks s3 or eventName",
        "the event lacks the bucket's name or the object's key",
        "the message is no JSON",
    ]
    assert "hello" in column(producer.engine, "SELECT body FROM unreadable_messages")


def test_an_event_that_the_ledger_refuses_is_set_aside_alone(
    producer: Producer, queue: SqsQueue
) -> None:
    with producer.engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE ledger.images ADD CHECK (uri <> 's3://photos/b.jpg')"
        )
    queue.send(event("a.jpg"), event("b.jpg"), event("c.jpg"))
    with listening(producer, queue):
        await_empty(queue)
    check_each_once(producer.engine, 2)
    [reason] = column(producer.engine, "SELECT reason FROM unreadable_messages")
    assert str(reason).startswith("the ledger refuses it:")


def test_an_sqs_that_goes_away_is_waited_for(
    settings: Settings, queue: SqsQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    own = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    own.start()
    port = own.get_host_and_port()[1]
    asked = settings.model_copy(update={"sqs_endpoint_url": f"http://127.0.0.1:{port}"})
    with open_producer(asked, read_catalogue(None)) as producer, listening(producer, queue):
        queue.send(event("a.jpg"))
        await_empty(queue)
        own.stop()
        wait_until(lambda: "awaited=sqs" in capfd.readouterr().out, "it waits")
        queue.send(event("b.jpg"))
        own = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        own.start()
        await_empty(queue)
        check_each_once(producer.engine, 2)
    own.stop()


def test_a_queue_that_is_not_there_ends_the_listener_with_what_to_check(
    producer: Producer,
) -> None:
    with pytest.raises(SourceError, match="queue 'none' does not exist; check its name"):
        listen(producer, "sqs://none", threading.Event())


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (500, "InternalFailure", SqsAway),
        (503, "ServiceUnavailable", SqsAway),
        (502, "", SqsAway),
        (403, "RequestThrottled", SqsAway),
        (400, "ThrottlingException", SqsAway),
        (403, "AWS.SimpleQueueService.OverLimit", SqsAway),
        (403, "ExpiredTokenException", SqsAway),
        (403, "AccessDeniedException", SourceError),
        (403, "InvalidClientTokenId", SourceError),
        (400, "AWS.SimpleQueueService.NonExistentQueue", SourceError),
        (404, "404", SourceError),
    ],
)
def test_temporary_errors_are_told_from_permanent_ones(
    settings: Settings, status: int, code: str, raised: type[Exception]
) -> None:
    queue = Queue("uploads", "https://queues.example.com/1/uploads")
    with closing(open_client(queue, settings)) as client, Stubber(client) as stubber:
        stubber.add_client_error("receive_message", code, "because", status)
        with pytest.raises(raised, match=r"because|does not exist"):
            received(client, queue, 10)


@contextmanager
def producer_process(
    settings: Settings, log: Path, *queues: str
) -> Iterator["subprocess.Popen[bytes]"]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    told = {
        "DATABASE_URL": settings.database_url or "",
        "BROKER_URL": settings.broker_url or "",
        "SQS_ENDPOINT_URL": settings.sqs_endpoint_url or "",
    }
    options = [word for queue in queues for word in ("--listen", queue)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fakesweep", "producer", *options],
            stdout=output,
            stderr=output,
            env=own | {f"{PREFIX}{name}": value for name, value in told.items()},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_producer_killed_at_any_moment_skips_and_doubles_no_object(
    producer: Producer, queue: SqsQueue, tmp_path: Path
) -> None:
    moments, log, objects = random.Random(7), tmp_path / "producer.log", 400
    listens = f"sqs://{queue.name}"
    waves = [
        [event(*(f"{first + 4 * message + n}.jpg" for n in range(4))) for message in range(20)]
        for first in range(0, objects, 80)
    ]
    for wave in waves[:3]:
        before = int(str(one(producer.engine, _IMAGES)))
        with producer_process(producer.settings, log, listens):
            sending = threading.Thread(target=queue.send, args=wave)
            sending.start()
            await_images(producer.engine, before + moments.randint(1, 60))
        sending.join()
    with producer_process(producer.settings, log, listens) as process:
        for wave in waves[3:]:
            queue.send(*wave, *wave[:5])
        await_empty(queue)
        wait_until(
            lambda: (
                not column(producer.engine, "SELECT 1 FROM ledger.batches WHERE state = 'recorded'")
            ),
            "all are published",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    check_each_once(producer.engine, objects)
    batches = set(column(producer.engine, "SELECT batch_id FROM ledger.batches"))
    assert producer.publisher.waiting_batches(Lane.LIVE) <= batches


def test_a_producer_whose_listener_cannot_go_on_ends_with_one_line(
    producer: Producer, queue: SqsQueue, tmp_path: Path
) -> None:
    log = tmp_path / "producer.log"
    with producer_process(producer.settings, log, f"sqs://{queue.name}", "sqs://none") as process:
        assert process.wait(60) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("fakesweep: queue 'none' does not exist; check its name")


def test_an_invalid_queue_is_refused_before_anything_is_opened(
    tmp_path: Path,
) -> None:
    log = tmp_path / "producer.log"
    nowhere = Settings(database_url="postgresql://none:1/none", broker_url="redis://none:1")
    with producer_process(nowhere, log, "uploads") as process:
        assert process.wait(60) == Exit.USAGE
    assert "'uploads' names no queue; write sqs://NAME" in log.read_text()
