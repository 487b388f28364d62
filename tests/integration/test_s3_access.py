"""Credentials and endpoints of S3, in listing and in fetching."""

from pathlib import Path

import pytest

from fakesweep.producer.sources import check_source, list_images
from fakesweep.schema.errors import SourceError
from fakesweep.schema.failures import AccessDenied, SourceUnavailable
from fakesweep.schema.ledger.scans.scans import ListedImage
from fakesweep.schema.settings import read_settings
from fakesweep.workers.fetch import open_fetcher
from tests.support.servers import S3Server, free_port


def listed(source: str, cursor: str | None = None) -> list[ListedImage]:
    return list(list_images(source, cursor, read_settings()))


def fetched(uri: str) -> bytes:
    with open_fetcher(read_settings()) as fetcher:
        return fetcher.fetch(uri)


def refusal(source: str) -> str:
    """Return the message of `check_source` that refuses a source."""
    with pytest.raises(SourceError) as refused:
        check_source(source, read_settings())
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_without_credentials_the_way_to_give_them_is_said(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = s3.put(bucket, "a.jpg", b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert "AWS_ACCESS_KEY_ID" in refusal(uri)
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        fetched(uri)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refusal(uri)
    with pytest.raises(AccessDenied, match="AWS_PROFILE"):
        fetched(uri)


def test_a_profile_gives_the_credentials(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = s3.put(bucket, "a.jpg", b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[mine]\naws_access_key_id = test\naws_secret_access_key = testtest\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert len(listed(uri)) == 1
    assert fetched(uri) == b"x"


@pytest.mark.usefixtures("s3")
def test_a_service_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("FAKESWEEP_FETCH_ATTEMPTS", "1")
    assert "FAKESWEEP_S3_ENDPOINT_URL" in refusal("s3://pictures/")
    with pytest.raises(SourceUnavailable):
        fetched("s3://pictures/a.jpg")
