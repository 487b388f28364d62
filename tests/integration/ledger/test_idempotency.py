"""Repeated requests for a scan with the same token."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from fakesweep.schema.ledger.scans.idempotency import set_token, take_token
from tests.integration.ledger.rows import ask
from tests.integration.ledger.scan_control import in_background


def test_a_token_finds_the_scan_and_what_was_asked_for_with_it(engine: Engine) -> None:
    scan_id = ask(engine)
    with engine.begin() as connection:
        assert take_token(connection, "daily") is None
        set_token(connection, scan_id, "daily", {"policy": "card"})
    with engine.begin() as connection:
        found = take_token(connection, "daily")
    assert found is not None
    assert (found.scan_id, found.asked) == (scan_id, {"policy": "card"})


def test_a_concurrent_request_with_the_same_token_waits(engine: Engine) -> None:
    scan_id = ask(engine)

    def take_second() -> int | None:
        with engine.begin() as other:
            found = take_token(other, "daily")
        return None if found is None else found.scan_id

    with ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection:
            assert take_token(connection, "daily") is None
            waiting = in_background(engine, threads, take_second)
            set_token(connection, scan_id, "daily", {})
        assert waiting.result() == scan_id
