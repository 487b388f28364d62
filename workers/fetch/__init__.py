"""Fetching: a URI becomes its bytes or a failure."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from urllib3 import PoolManager

from fakesweep.schema.failures import AccessDenied, InvalidUri
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.uris import S3Address, normalise, scheme_of, to_path, to_s3
from fakesweep.workers.fetch.files import read_file, real_roots
from fakesweep.workers.fetch.retry import Deadline, with_attempts
from fakesweep.workers.fetch.web import open_pool, read_url

if TYPE_CHECKING:
    from fakesweep.schema.settings import Settings
    from fakesweep.workers.fetch.s3 import S3Reader


class Fetcher:
    """Fetches images by URI over pooled connections; thread-safe."""

    def __init__(self, settings: "Settings", pool: PoolManager) -> None:
        self._settings = settings
        self._pool = pool
        self._roots = real_roots(settings)
        self._lock = threading.Lock()
        self._s3: S3Reader | None = None

    def fetch(self, uri: str) -> bytes:
        """Return the bytes of an image, at most `max_image_bytes`.

        Transient errors are retried: at most `fetch_attempts` attempts, which share
        `fetch_deadline_seconds`.

        Raises:
            InvalidUri: the text is no supported URI.
            FetchFailure: the bytes cannot be fetched; its class is the failure code.
        """
        return with_attempts(self._reader(uri), self._settings)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
        if self._s3 is not None:
            self._s3.close()

    def _reader(self, uri: str) -> Callable[[Deadline], bytes]:
        try:
            uri = normalise(uri)
        except UnicodeError as error:
            raise InvalidUri("the URI is no valid Unicode") from error
        match scheme_of(uri):
            case "file":
                return partial(read_file, to_path(uri), self._roots, self._settings)
            case "s3":
                return partial(self._s3_reader().read, self._admitted(to_s3(uri)))
            case _:
                return partial(read_url, self._pool, uri, self._settings)

    def _admitted(self, address: S3Address) -> S3Address:
        if not admits_bucket(address.bucket, self._settings):
            raise AccessDenied(f"bucket {address.bucket!r} is refused (FAKESWEEP_BUCKETS)")
        return address

    def _s3_reader(self) -> "S3Reader":
        with self._lock:
            if self._s3 is None:
                # Boto3 is large and slow to import; loaders without S3 images never need it.
                from fakesweep.workers.fetch.s3 import S3Reader  # noqa: PLC0415

                self._s3 = S3Reader(self._settings)
            return self._s3


@contextmanager
def open_fetcher(settings: "Settings") -> Iterator[Fetcher]:
    """Yield a fetcher; the end of the context closes its connections."""
    fetcher = Fetcher(settings, open_pool(settings))
    try:
        yield fetcher
    finally:
        fetcher.close()
