"""S3 Inventory with killed listings: each object is recorded once."""

import random
import threading
from pathlib import Path

from fakesweep.producer.listing.scan import list_scan
from fakesweep.producer.resources import open_producer
from fakesweep.producer.scans import ScanRequest, add_scan
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import read_settings
from fakesweep.schema.uris import to_s3
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import tuples, value
from tests.support.inventories import SOURCE, a, put
from tests.support.killed_producers import kill_amid_listing
from tests.support.servers import S3Server

FILE_KEYS = (9_000, 14_000, 7_000)
KEYS = sum(FILE_KEYS)


def test_producers_killed_while_they_list_an_inventory_skip_and_double_nothing(
    s3: S3Server, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    moments = random.Random(11)
    keys = [f"uploads/{number:05} é%+.jpg" for number in range(KEYS)]
    moments.shuffle(keys)
    left = iter(keys)
    put(s3, *([a(next(left)) for _ in range(count)] for count in FILE_KEYS))
    own = read_settings().model_copy(
        update={"database_url": database_url, "broker_url": broker_url, "batch_images": 500}
    )
    with open_producer(own, read_catalogue(None)) as producer:
        add_scan(producer, ScanRequest((SOURCE,), ("vit-tiny-cifake",), Lane.BULK, "default"))
        for _ in range(4):
            kill_amid_listing(producer, moments.randint(1, 7_000), KEYS, tmp_path / "log")
        assert list_scan(producer, 1, threading.Event())
        recorded = tuples(producer.engine, "SELECT uri FROM ledger.images")
        assert sorted(to_s3(uri).key for (uri,) in recorded) == sorted(keys)
        assert value(producer.engine, "SELECT sum(image_count) FROM ledger.batches") == KEYS
