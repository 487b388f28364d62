"""List of peers, their environments, and a run of one peer."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import REPOSITORY
from benchmarks.memory import watched
from benchmarks.peers.marks import FIRST, LAST, READY, ROWS, read_mark
from benchmarks.runs import Job, Run
from benchmarks.servers import LONGEST_SECONDS, bare_environment, end, last_line

TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """A module of this package that classifies a folder; `packages` need an environment."""

    module: str
    sink: str
    words: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


PEERS = {
    "pipeline-1": Peer("pipeline", "CSV", ("1",)),
    "pipeline-8": Peer("pipeline", "CSV", ("8",)),
    "celery": Peer("celery_tasks", "PostgreSQL"),
    "ray": Peer("ray_data", "Parquet", packages=("ray[data]", "pyarrow")),
    "daft": Peer("daft_frame", "Parquet", packages=("daft", "pyarrow")),
}


def python_of(name: str, folder: Path, *, install: bool) -> str:
    """Return the Python of a peer, in an environment below `folder` where it has packages.

    The environment inherits our packages, so torch and transformers are the same.

    Raises:
        RuntimeError: the environment is not or cannot be installed; the message says why.
    """
    peer = PEERS[name]
    if not peer.packages:
        return sys.executable
    home = folder / "peers" / name
    python = home / "bin" / "python"
    done = home / "installed"
    if done.exists():
        return str(python)
    if not install:
        raise RuntimeError("it is not installed; --with-peers installs it")
    print(f"installing {name} into {home}", flush=True)
    venv.create(home, clear=True, with_pip=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(home)})
    Path(packages, "fakesweep-bench.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    installed = subprocess.run(
        [*pip, *peer.packages, TORCH], check=False, capture_output=True, text=True
    )
    if installed.returncode:
        said = installed.stderr.strip().splitlines() or ["pip failed"]
        raise RuntimeError(f"pip could not install it: {said[-1]}")
    done.touch()
    return str(python)


def run_peer(name: str, job: Job, python: str) -> Run:
    """Run a peer once, in a separate process, to the last row of its durable store.

    The clock starts after the warm-up: the pipeline and Celery load the model; Ray Data and Daft,
    which reload it for each job, run a job of one batch.

    Raises:
        RuntimeError: the process ended early; the message is its last line.
    """
    out = Path(tempfile.mkdtemp(prefix="fs-peer-", dir="/tmp"))
    try:
        started = time.time()
        log = out / "log"
        _run_to_end(_words(name, job, python, out), out, log)
        try:
            ready, first, last = (read_mark(out, moment) for moment in (READY, FIRST, LAST))
            rows, peak = (read_mark(out, number) for number in (ROWS, "peak"))
        except FileNotFoundError as error:
            raise RuntimeError(f"it left before its last row: {last_line(log)}") from error
        return Run(job.images, int(rows), last - ready, ready - started, first - ready, int(peak))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _words(name: str, job: Job, python: str, out: Path) -> Sequence[str]:
    peer = PEERS[name]
    paths = (str(job.folder), str(job.checkpoint), str(out))
    return (python, "-m", f"benchmarks.peers.{peer.module}", *paths, *peer.words)


def _run_to_end(words: Sequence[str], out: Path, log: Path) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, cwd=REPOSITORY, env=_environment()
        )
    try:
        with watched([process.pid]) as memory:
            status = process.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it did not end within {LONGEST_SECONDS:g} s") from None
    finally:
        end(process)
    if status:
        raise RuntimeError(f"it ended with {status}: {last_line(log)}")
    (out / "peak").write_text(repr(float(memory.peak_bytes)))


def _environment() -> dict[str, str]:
    """Return an environment with telemetry switched off."""
    quiet = {"DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
    return bare_environment() | quiet | {"PATH": os.environ.get("PATH", "")}
