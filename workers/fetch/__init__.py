"""Fetching: from a URI to its bytes, or to the failure that says why not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from urllib3 import PoolManager

from schema.failures import InvalidUri
from schema.settings import Settings
from schema.uris import normalise, scheme_of, to_path, to_s3
from workers.fetch.attempts import Deadline, with_attempts
from workers.fetch.files import read_file
from workers.fetch.s3 import S3Reader
from workers.fetch.web import open_pool, read_url


class Fetcher:
    """Fetches images by URI, over connections it keeps; many threads may call it at once."""

    def __init__(self, settings: Settings, pool: PoolManager, s3: S3Reader) -> None:
        self._settings = settings
        self._pool = pool
        self._s3 = s3

    def fetch(self, uri: str) -> bytes:
        """Return the bytes of an image, at most `max_image_bytes` of them.

        Transient errors are tried again, up to `fetch_attempts` times; all attempts together
        may take ten times `fetch_timeout_seconds`.

        Raises:
            InvalidUri: the text is no URI this system can address.
            FetchFailure: the bytes could not be had; its class is the failure code.
        """
        return with_attempts(self._reader(uri), self._settings)

    def _reader(self, uri: str) -> Callable[[Deadline], bytes]:
        try:
            uri = normalise(uri)
        except UnicodeError as error:
            raise InvalidUri("the URI is no valid Unicode") from error
        match scheme_of(uri):
            case "file":
                return partial(read_file, to_path(uri), self._settings)
            case "s3":
                return partial(self._s3.read, to_s3(uri))
            case _:
                return partial(read_url, self._pool, uri, self._settings)


@contextmanager
def open_fetcher(settings: Settings) -> Iterator[Fetcher]:
    """Yield a fetcher; its connections are closed at the end."""
    pool = open_pool(settings)
    s3 = S3Reader(settings)
    try:
        yield Fetcher(settings, pool, s3)
    finally:
        pool.clear()
        s3.close()
