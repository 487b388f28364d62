"""`python -m tests.attack`: runs each attack for some seconds and prints a line of figures."""

import argparse
import sys
import tempfile
from pathlib import Path

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import upgrade
from tests.attack.run import CONNECTIONS, under_attack
from tests.support.api_server import serving_api
from tests.support.servers import broker_server, postgres_server


def main() -> int:
    """Attack a private API on the loopback; exit with 1 if honest clients got 503 or no answer."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each attack lasts")
    parser.add_argument("--only", choices=list(CONNECTIONS), help="this attack alone")
    asked = parser.parse_args()
    is_well = True
    with (
        postgres_server() as postgres,
        broker_server() as broker,
        tempfile.TemporaryDirectory() as folder,
    ):
        _make_template(postgres)
        with serving_api(postgres, broker, Path(folder)) as serving:
            for sort in [asked.only] if asked.only else CONNECTIONS:
                survived = under_attack(serving, sort, asked.seconds)
                sys.stdout.write(f"{survived.line()}\n")
                sys.stdout.flush()
                is_well = is_well and set(survived.noted.statuses) <= {"200", "202"}
            lines = serving.api.log.read_text().count("\n")
            tracebacks = serving.api.log.read_text().count("Traceback")
            sys.stdout.write(f"the API's log: {lines} lines, {tracebacks} tracebacks\n")
    return 0 if is_well else 1


def _make_template(postgres: str) -> None:
    server = open_engine(postgres, "attack")
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE fakesweep_test_template")
    server.dispose()
    engine = open_engine(postgres.replace("/postgres?", "/fakesweep_test_template?", 1), "attack")
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
