"""Broker behind a Unix socket, with a password of URL metacharacters."""

from pathlib import Path

import redis

from fakesweep.producer.publisher import Publisher
from fakesweep.schema.broker import client_url
from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane
from fakesweep.serving.rate_limits import RateLimits
from tests.support.servers import broker_server

PASSWORD = "hu/sh#?@:[%25"
WRITTEN = "hu%2Fsh%23%3F%40%3A%5B%2525"


def test_every_client_of_ours_finds_the_same_database_behind_a_socket(tmp_path: Path) -> None:
    socket = tmp_path / "broker.sock"
    with broker_server("--unixsocket", str(socket), "--requirepass", PASSWORD):
        settings = Settings(broker_url=f"unix://:{WRITTEN}@{socket}?db=3")
        publisher = Publisher(settings)
        publisher.publish(BatchMessage(7, 1, Lane.BULK, (BatchImage(1, "s3://photos/a"),), 0))
        assert publisher.waiting_batches(Lane.BULK) == {7}
        publisher.close()
        limits = RateLimits(settings.broker_url or "")
        assert limits.take(Caller(1, "tests", frozenset(), 60), 10) == 0.0
        limits.close()
        with redis.Redis.from_url(client_url(settings.broker_url or "")) as client:
            assert client.connection_pool.connection_kwargs["db"] == 3
            assert client.llen(Lane.BULK.value) == 1
            assert client.keys("fakesweep-api:*")
