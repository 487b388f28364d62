"""Services of docker-compose.yml as processes, each with the file's command and environment."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from sqlalchemy import make_url, text

from fakesweep.schema.ledger.connection import open_engine
from tests.support.servers import broker_server, free_port, postgres_server, wait_until

FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILE)["services"]

PASSWORDS = {
    f"{name}_PASSWORD": f"{name.lower()}Hunter2"
    for name in ("POSTGRES", "REDIS", "PRODUCER", "API", "WORKER", "ANALYST")
}

_LOGINS = "producer,api,worker,analyst"
_SURROUNDINGS = ("PATH", "HOME", "HF_HOME", "LANG")


@dataclass
class Composed:
    """The servers behind the file's host names, and the values of .env."""

    said: Mapping[str, str]
    socket: str
    broker_port: int
    folder: Path
    logs: dict[str, Path] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service's container, with hosts replaced."""
        own = {name: os.environ[name] for name in _SURROUNDINGS if name in os.environ}
        scratch = self.folder / f"tmp-{service}"
        scratch.mkdir(exist_ok=True)
        for name, value in SERVICES[service]["environment"].items():
            if value is not None:
                own[name] = self._filled(str(value))
            elif name in self.said:
                own[name] = self.said[name]
        return own | {"TMPDIR": str(scratch)}

    def run(self, service: str, *words: str) -> str:
        """Run a service's command to its end, or another one in its container."""
        done = subprocess.run(
            self._line(list(words) or SERVICES[service]["command"]),
            env=self.environment(service), cwd=self.folder, check=False, timeout=120,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.logs[f"{service}-{len(self.logs)}"] = log = self.folder / f"{len(self.logs)}.log"
        log.write_text(done.stdout + done.stderr)
        return done.stdout

    @contextmanager
    def running(self, service: str, event: str, *words: str) -> Iterator[None]:
        """Run a service within the context, which begins once it has logged the event."""
        self.logs[service] = log = self.folder / f"{service}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._line([*SERVICES[service]["command"], *words]),
                env=self.environment(service), cwd=self.folder, stdout=output, stderr=output,
            )  # fmt: skip
        self.pids[service] = process.pid
        try:
            wait_until(lambda: event in log.read_text() or process.poll() is not None, event, 90)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            assert process.wait(60) == 0, log.read_text()

    @staticmethod
    def _line(words: list[str]) -> list[str]:
        assert words[0] == "fakesweep"
        return [sys.executable, "-P", "-m", *words]

    def _filled(self, value: str) -> str:
        known = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: self.said[found[1]], value)
        database = f"@/fakesweep?host={self.socket}"
        return known.replace("@postgres:5432/fakesweep", database).replace(
            "@redis:6379/", f"@127.0.0.1:{self.broker_port}/"
        )


@contextmanager
def composed(folder: Path, said: Mapping[str, str]) -> Iterator[Composed]:
    """Yield empty servers with the file's passwords."""
    with ExitStack() as servers:
        socket = _with_owner(servers.enter_context(postgres_server()))
        broker = servers.enter_context(broker_server("--requirepass", PASSWORDS["REDIS_PASSWORD"]))
        yield Composed({**PASSWORDS, **said}, socket, make_url(broker).port or 0, folder)


def free_address() -> tuple[str, ...]:
    """Return the API's arguments for a free port of this machine."""
    return "--host", "127.0.0.1", "--port", str(free_port())


def _with_owner(server: str) -> str:
    """Create the owner as PostgreSQL's image does; return the socket's folder."""
    engine = open_engine(server, "tests")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        password = PASSWORDS["POSTGRES_PASSWORD"]
        connection.exec_driver_sql(f"CREATE USER fakesweep SUPERUSER PASSWORD '{password}'")
        connection.exec_driver_sql("CREATE DATABASE fakesweep OWNER fakesweep")
        rules = Path(connection.execute(text("SHOW hba_file")).scalar_one())
        who = f"{_LOGINS},fakesweep"
        rules.write_text(f"local all {who} scram-sha-256\n{rules.read_text()}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()
    return str(make_url(server).query["host"])
