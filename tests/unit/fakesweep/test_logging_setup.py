import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from fakesweep.logging_setup import log_troubles
from fakesweep.producer import backoff as producer_waiting
from fakesweep.producer.backoff import Backoff
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import BROKER, LEDGER

CLUSTER = Settings(
    database_url="postgresql://me:hunter2@db:5432/x", broker_url="redis://:hunter2@q:6379/0"
)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(producer_waiting, "_outages", producer_waiting.Outages())
    monkeypatch.setattr(producer_waiting, "log", structlog.get_logger())
    root = logging.getLogger()
    before = (root.handlers, root.level)
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


def outage(settings: Settings, server: str) -> None:
    log_troubles(settings)
    stop = threading.Event()
    stop.set()
    threads = [Backoff(stop), Backoff(stop)]
    for _ in range(3):
        for one in threads:
            one.wait(server, "connection to 'db' failed: Connection refused\nIs it running?")
    for one in threads:
        one.is_over()


@pytest.mark.parametrize(("server", "name"), [(LEDGER, "database"), (BROKER, "broker")])
def test_an_outage_is_one_line_with_a_remedy_and_one_at_its_end(
    server: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outage(CLUSTER, server)
    away, back = capsys.readouterr().err.splitlines()
    assert away.startswith(f"fakesweep: the {name} at ")
    assert "does not answer (connection to 'db' failed: Connection refused)" in away
    assert away.endswith("; check that the server is up")
    assert back.endswith(" answers again, and the work goes on")
    assert "hunter2" not in away


def test_the_remedy_for_the_local_stack_is_to_start_it(capsys: pytest.CaptureFixture[str]) -> None:
    outage(Settings(), LEDGER)
    away, _ = capsys.readouterr().err.splitlines()
    assert away.endswith("; start it: fakesweep up")


def test_programs_read_the_same_events_as_lines_of_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outage(Settings(log_format="json"), BROKER)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["awaited"]) for line in lines] == [
        ("waiting", BROKER), ("waited", BROKER),
    ]  # fmt: skip
