"""Producer processes that are killed while they list."""

import os
import subprocess
import sys
from pathlib import Path

from fakesweep.producer.resources import Producer
from fakesweep.stack.processes import wait_for
from tests.integration.ledger.rows import value

COUNT = "SELECT count(*) FROM ledger.images"
LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


def kill_amid_listing(producer: Producer, more: int, most: int, log: Path) -> None:
    """Start a producer's service, and kill it after `more` further images.

    It is also killed at `most` images, the end of the listing. Its lock is free afterwards.
    """
    before = value(producer.engine, COUNT)
    environment = os.environ | {
        "FAKESWEEP_DATABASE_URL": producer.settings.database_url or "",
        "FAKESWEEP_BROKER_URL": producer.settings.broker_url or "",
        "FAKESWEEP_BATCH_IMAGES": str(producer.settings.batch_images),
    }
    words = [sys.executable, "-m", "fakesweep", "producer"]
    with log.open("ab") as said, subprocess.Popen(words, env=environment, stderr=said) as process:
        try:
            wanted = min(before + more, most)
            assert wait_for(lambda: value(producer.engine, COUNT) >= wanted, 60), log.read_text()
        finally:
            process.kill()
    assert wait_for(lambda: value(producer.engine, LOCKS) == 0, 60), "it still holds the listing"
