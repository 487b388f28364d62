"""Fixtures that several of these files ask for."""

from collections.abc import Iterator

import pytest

from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import to_s3
from tests.support.api_server import Serving, serving_api
from tests.support.inventories import FORMATS
from tests.support.servers import S3Server
from tests.support.webhook_receiver import Receiver, webhook_receiver


@pytest.fixture(scope="module")
def serving(
    postgres: str, _broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """One API for most tests of a file; it may read files below /allowed."""
    with serving_api(postgres, _broker, tmp_path_factory.mktemp("api")) as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks that takes everything until it is told otherwise."""
    with webhook_receiver() as found:
        yield found


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """The name of a new bucket."""
    return s3.make_bucket(f"bucket-{abs(hash(request.node.name)):x}")


@pytest.fixture(params=FORMATS)
def written_as(request: pytest.FixtureRequest) -> str:
    """A format that S3 writes inventories in."""
    return str(request.param)


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read two rows of an inventory at a time, where they are many in earnest."""
    monkeypatch.setattr("fakesweep.producer.sources.inventory.arrow.PIECE_ROWS", 2)


@pytest.fixture
def _read_straight(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read objects from the server's folder, for tests that would make clients by the hundred."""

    def read_object(source: str, _: Settings) -> Iterator[bytes]:
        yield (s3.root / to_s3(source).bucket / to_s3(source).key).read_bytes()

    monkeypatch.setattr("fakesweep.producer.sources.inventory.manifest.read_object", read_object)
