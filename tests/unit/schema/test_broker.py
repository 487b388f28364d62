import pytest
import redis
from kombu import Connection

from fakesweep.schema.broker import checked, client_url, shown
from fakesweep.schema.errors import SettingsError
from fakesweep.schema.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("redis://h", "redis://h:6379"),
        ("REDIS://h:6380/3", "redis://h:6380/3"),
        ("redis://:hush@h:6379/0", "redis://h:6379/0"),
        ("redis://me:hu%2Fsh%23%40@h/0", "redis://h:6379/0"),
        ("rediss://:hush@[::1]:6380/0?ssl_cert_reqs=none", "rediss://[::1]:6380/0"),
        ("rediss://h?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=CERT_REQUIRED", "rediss://h:6379"),
        ("redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix://:hush@/run/redis.sock?db=2", "redis+socket:///run/redis.sock"),
    ],
)
def test_urls_of_redis_servers_are_taken_and_shown_without_who_asks(
    written: str, where: str
) -> None:
    url = checked(written)
    assert shown(url) == where
    redis.Redis.from_url(client_url(url)).close()
    with Connection(url, ssl=url.startswith("rediss:")) as connection:
        assert "hush" not in connection.as_uri()


@pytest.mark.parametrize(
    "written",
    [
        "hush",
        "hush@host",
        "amqp://me:hush@h//",
        "pyamqp://me:hush@h//",
        "sentinel://:hush@h:26379/0",
        "redis+sentinel://:hush@h:26379/0",
        "sqs://AKIA:hush@",
        "memory://hush",
        "http://:hush@h",
        "redis:hush@h",
        "redis://:hu/sh@h:6379/0",
        "redis://:hush#x@h:6379/0",
        "redis://:hush?x@h:6379/0",
        "redis://:hush@x@h:6379/0",
        "redis://:hush[x@h:6379/0",
        "redis://:hush]x@h:6379/0",
        "redis://:hush\u2100@h:6379/0",
        "redis://:hu sh@h:6379/0",
        "redis://:hush\n@h:6379/0",
        "redis://hush/x:y@h",
        "redis://h:hush/0",
        "redis://h:0/0",
        "redis://h:65536/0",
        "redis://h/hush",
        "redis://h?hush",
        "redis://h?password=hush",
        "redis://h/0?username=me&password=hush",
        "redis://h/0?ssl_cert_reqs=none",
        "rediss://h/0?ssl_cert_reqs=hush",
        "rediss://h/0?hush=1",
        "redis+socket://hush/run/redis.sock",
        "redis+socket://",
        "redis+socket:///run/redis.sock?db=hush",
        "unix:///run/redis.sock?password=hush",
    ],
)
def test_an_invalid_broker_url_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("FAKESWEEP_BROKER_URL", written)
    with pytest.raises(SettingsError, match=r"^FAKESWEEP_BROKER_URL cannot be used: ") as refused:
        read_settings()
    said = str(refused.value)
    assert "hush" not in said
    assert "\n" not in said
    assert refused.value.__cause__ is None


def test_a_character_that_a_url_gives_a_meaning_is_to_be_percent_encoded() -> None:
    for written in ("redis://:a/b@h", "redis://:a#b@h", "redis://:a?b@h", "redis://:a@b@h"):
        with pytest.raises(ValueError, match=r"write / as %2F, # as %23, . as %3F and @ as %40"):
            checked(written)


def test_settings_made_in_python_do_not_repeat_what_they_refuse() -> None:
    with pytest.raises(ValueError, match="no URL of a Redis server") as refused:
        Settings(broker_url="amqp://me:hush@h")
    assert "hush" not in str(refused.value)
