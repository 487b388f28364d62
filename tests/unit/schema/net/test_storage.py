import pytest

from fakesweep.schema.net.storage import Refusal, one_line, refusal_of, s3_options
from fakesweep.schema.settings import read_settings


def test_nothing_that_is_unset_hides_what_boto3_finds_itself() -> None:
    options = s3_options(read_settings(), attempts=3)
    assert options.client == {}
    assert "s3" not in options.config
    assert options.config["retries"] == {"mode": "standard", "total_max_attempts": 3}


def test_endpoint_style_and_limits_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_S3_ENDPOINT_URL", "http://storage:9000")
    monkeypatch.setenv("FAKESWEEP_S3_ADDRESSING_STYLE", "virtual")
    monkeypatch.setenv("FAKESWEEP_FETCH_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("FAKESWEEP_FETCH_CONCURRENCY", "31")
    options = s3_options(read_settings(), attempts=1)
    assert options.client == {"endpoint_url": "http://storage:9000"}
    assert options.config["s3"] == {"addressing_style": "virtual"}
    assert options.config["connect_timeout"] == options.config["read_timeout"] == 7
    assert options.config["max_pool_connections"] == 31


@pytest.mark.parametrize(
    ("status", "code", "refusal"),
    [
        (404, "", Refusal.MISSING),
        (403, "AccessDenied", Refusal.DENIED),
        (403, "InvalidObjectState", Refusal.ARCHIVED),
        (400, "ExpiredToken", Refusal.DENIED),
        (400, "KMS.NotFoundException", Refusal.DENIED),
        (400, "", Refusal.OTHER),
        (408, "", Refusal.TIMED_OUT),
        (429, "", Refusal.BUSY),
        (503, "SlowDown", Refusal.BUSY),
        (599, "", Refusal.BUSY),
        (501, "NotImplemented", Refusal.OTHER),
        (0, "", Refusal.OTHER),
    ],
)
def test_a_code_says_more_than_its_status(status: int, code: str, refusal: Refusal) -> None:
    assert refusal_of(status, code) is refusal


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ein Bild\u00e4", "ein Bild\u00e4"),
        ("two\nlines\x1b[2J\x00", "two\\nlines\\x1b[2J\\x00"),
        ("\u202egpj.exe\udcff", "\\u202egpj.exe\\udcff"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_foreign_text_becomes_one_short_printable_line(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line(text).isprintable()
