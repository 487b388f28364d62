"""Broker memory of batches waiting in a queue."""

import redis

from benchmarks.machine import describe
from benchmarks.servers import fresh_stack
from fakesweep.producer.publisher import Publisher
from fakesweep.schema.message import BatchImage, BatchMessage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane

BATCHES = (64, 640, 2_560)
BATCH_IMAGES = 256
URI = "s3://archive-of-pictures/2026/11/21/{:09d}-0123abcd.jpg"


def main() -> None:
    """Publish growing numbers of batches to a private broker; print its memory."""
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB")
    with fresh_stack() as stack:
        settings = Settings(database_url=stack.database_url, broker_url=stack.broker_url)
        publisher = Publisher(settings)
        publisher.check()
        with redis.Redis.from_url(stack.broker_url) as client:
            said = client.info()
            bare = said["used_memory"]
            print(
                f"{said.get('server_name', 'redis')} {said['redis_version']}, {bare:,} bytes bare"
            )
            print(f"batches of {BATCH_IMAGES} URIs of {len(URI.format(0))} bytes")
            sent = 0
            for batches in BATCHES:
                while sent < batches:
                    publisher.publish(_batch(sent))
                    sent += 1
                used = client.info("memory")["used_memory"]
                print(f"{batches:6} batches {used:12,} bytes, {(used - bare) / batches:,.0f} each")
        publisher.close()


def _batch(number: int) -> BatchMessage:
    first = number * BATCH_IMAGES
    images = tuple(
        BatchImage(10_000_000 + n, URI.format(n)) for n in range(first, first + BATCH_IMAGES)
    )
    return BatchMessage(1_000_000 + number, 1, Lane.BULK, images, 0)


if __name__ == "__main__":
    main()
