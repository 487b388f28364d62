"""PostgreSQL server that can be killed, frozen, and restarted on the same folder and port."""

import os
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Signals

import psycopg2

from fakesweep.stack import accounts, cluster
from fakesweep.stack.processes import wait_for
from tests.chaos.processes import MARK, children_of, lives, push
from tests.support.servers import free_port

DATABASE = "chaos_test"
UNDISTURBED = "chaos_undisturbed_test"
USER = "fakesweep"
"""Ordinary user; a full server reserves its last connections for the run's own queries."""

MAX_CONNECTIONS = 80
START_SECONDS = 60.0

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "superuser_reserved_connections": "10",
    "fsync": "off",  # faults kill processes, never the machine
    "shared_buffers": "64MB",
}


class Postgres:
    """Server of one run, in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder / "postgres"
        self._log = folder / "logs" / "postgres.log"
        self._mark = {MARK: str(folder)}
        self._account = accounts.server_account(self._folder)
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Create the cluster, start it, and create its user and databases."""
        cluster.open_programs(self._account)
        self._folder.mkdir(mode=0o700)
        accounts.give(self._folder, self._account)
        words = ["-D", str(self._folder), "-U", "postgres", "--encoding=UTF8", "--locale=C"]
        cluster.run_program("initdb", [*words, "--no-sync", "--auth=trust"], self._account)
        self.start()
        with closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN")
            for name in (DATABASE, UNDISTURBED):
                cursor.execute(f"CREATE DATABASE {name} OWNER {USER}")

    def start(self) -> None:
        """Start the server, with retries while a killed one's processes hold the folder."""
        if not wait_for(self._came_up, START_SECONDS):
            raise RuntimeError(f"PostgreSQL does not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Shut it down in order: end the sessions, leave nothing to recover."""
        self._push(SIGINT)
        self._wait()

    def kill(self) -> None:
        """Kill the server and all its children at once."""
        self._push(SIGKILL)
        self._wait()

    def end(self) -> None:
        """Shut it down for good; a killed server would leave shared memory."""
        self.thaw()
        self._push(SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._wait()
        self.kill()

    def freeze(self) -> None:
        self._push(SIGSTOP)

    def thaw(self) -> None:
        self._push(SIGCONT)

    def url(self, database: str = DATABASE, user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(
        self, database: str = DATABASE, user: str = "postgres"
    ) -> psycopg2.extensions.connection:
        """Return an autocommit connection of the run itself."""
        connection = psycopg2.connect(
            self.url(database, user), connect_timeout=5, application_name="chaos"
        )
        connection.autocommit = True
        return connection

    def _came_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._process = self._launch()
        with suppress(psycopg2.OperationalError):
            self.connect("postgres").close()
            return True
        time.sleep(0.05)
        return False

    def _launch(self) -> "subprocess.Popen[bytes]":
        options = {**_OPTIONS, "port": str(self.port)}
        command = [str(cluster.programs() / "postgres"), "-D", str(self._folder)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        account = self._account
        with self._log.open("ab") as written:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **self._mark},
                cwd="/",
                umask=0o077,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    def _push(self, signal: Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        family = [] if signal == SIGINT else children_of(self._process.pid)
        for pid in (self._process.pid, *family):
            push(pid, signal)
        if signal == SIGKILL:
            wait_for(lambda: not any(map(lives, family)), 10)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(30)
