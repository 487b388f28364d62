"""Secured cluster: TLS before both servers, passwords, and three users."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import redis
from sqlalchemy import make_url, text

from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.migrations import upgrade
from tests.acceptance.command import Command
from tests.support.servers import broker_server, postgres_server, wait_until
from tests.support.tls import Authority, authority, tls_before

DATABASE_PASSWORD = "database-Hunter2 &/@:%"
BROKER_PASSWORD = "broker-Hunter2 &/@:%"

_SMALL = {"BATCH_IMAGES": "4", "CPU_THREADS": "1", "LOADERS": "2"}


@dataclass(frozen=True)
class Secured:
    """The cluster's ports and authority; `stranger` is an untrusted authority."""

    postgres_port: int
    broker_port: int
    ours: Authority
    stranger: Authority

    def command(self, user: str, **settings: str) -> Command:
        """Return the command for a database user: worker1, producer1, analyst1."""
        urls = {"DATABASE_URL": self.database_url(user), "BROKER_URL": self.broker_url()}
        return Command(urls | _SMALL | settings)

    def database_url(
        self, user: str, password: str = DATABASE_PASSWORD, ca: Path | None = None
    ) -> str:
        return (
            f"postgresql://{user}:{quote(password, safe='')}@localhost:{self.postgres_port}"
            f"/fakesweep_test?sslmode=verify-full&sslrootcert={ca or self.ours.file}"
        )

    def broker_url(self, password: str = BROKER_PASSWORD, ca: Path | None = None) -> str:
        trusted = f"?ssl_cert_reqs=required&ssl_ca_certs={ca or self.ours.file}"
        return f"{self.bare_broker_url(password)}{trusted}"

    def bare_broker_url(self, password: str = BROKER_PASSWORD) -> str:
        return f"rediss://:{quote(password, safe='')}@localhost:{self.broker_port}/0"


@contextmanager
def secured_cluster(folder: Path) -> Iterator[Secured]:
    """Yield a private, migrated cluster; the folder holds its certificates."""
    ours, stranger = authority(folder, "ours"), authority(folder, "stranger")
    with ExitStack() as servers:
        socket = _with_users(servers.enter_context(postgres_server()))
        port = _with_password(servers.enter_context(broker_server()))
        yield Secured(
            servers.enter_context(tls_before(ours.context, path=socket)),
            servers.enter_context(tls_before(ours.context, port=port)),
            ours,
            stranger,
        )


@contextmanager
def workers_at_work(commands: list[Command], folder: Path) -> Iterator[list[Path]]:
    """Yield the logs of workers once all are ready; they must exit with 0."""
    logs = [folder / f"worker-{number}.log" for number in range(len(commands))]
    processes = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("wb") as output:
            words = command.line("worker", "--device", "cpu", "--model", "vit-tiny-cifake")
            processes.append(
                subprocess.Popen(words, stdout=output, stderr=output, env=command.environment)
            )
    try:
        for process, log in zip(processes, logs, strict=True):
            wait_until(partial(_is_ready, process, log), f"{log} says it is ready", 60)
        yield logs
    finally:
        for process in processes:
            process.terminate()
        statuses = [process.wait(60) for process in processes]
        assert not any(statuses), "\n".join(log.read_text() for log in logs)


def _is_ready(process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return "worker_ready" in log.read_text()


def _with_users(server: str) -> Path:
    """Create the database and a user with a password for each role; return the socket."""
    engine = open_engine(server, "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE fakesweep_test")
        rules = Path(connection.execute(text("SHOW hba_file")).scalar_one())
    engine.dispose()
    url = make_url(server).set(database="fakesweep_test")
    engine = open_engine(url.render_as_string(hide_password=False), "tests")
    with engine.begin() as connection:
        upgrade(connection)
        for role in ("worker", "producer", "analyst"):
            connection.exec_driver_sql(
                f"CREATE USER {role}1 PASSWORD '{DATABASE_PASSWORD}' IN ROLE fakesweep_{role}",
                execution_options={"no_parameters": True},
            )
        known = "worker1,producer1,analyst1"
        rules.write_text(f"local all {known} scram-sha-256\n{rules.read_text()}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()
    return Path(str(url.query["host"])) / ".s.PGSQL.5432"


def _with_password(url: str) -> int:
    """Give the broker a password; return its port."""
    with redis.Redis.from_url(url) as client:
        client.config_set("requirepass", BROKER_PASSWORD)
    return make_url(url).port or 0
