"""Start times of help texts, `status`, `check`, and a worker until it takes work.

The starts alternate with plain imports of torch and transformers, each in a fresh process. Results
are wall seconds, and processor seconds, which other load on the machine hardly changes.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.corpus import Corpus, make_corpus
from benchmarks.servers import Stack, command, end, fresh_stack, wait_until

READY = b"worker_ready"
READY_SECONDS = 300.0
IMPORTS = "import torch, transformers.models.vit.modeling_vit"
MODEL = "vit-tiny-cifake"


@dataclass(frozen=True)
class Start:
    """A command to start, and its goal in seconds or None."""

    name: str
    words: Sequence[str]
    wanted: float | None = None


HELP = tuple(
    Start(f"fakesweep {words}", command(*words.split()), 0.3)
    for words in ("--help", "scan --help", "status --help", "worker --help", "schedule add --help")
)
WORKER = Start("fakesweep worker, until it is ready", command("worker", "--model", MODEL), 2.5)
IMPORTING = Start("importing torch and transformers' ViT", (sys.executable, "-c", IMPORTS))

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """Wall and processor seconds of one start, of its own process only."""

    wall: float
    processor: float


Found = dict[str, list[Took]]


def starts(picture: Path) -> tuple[Start, ...]:
    """Return all commands, in the order of a turn."""
    status = Start("fakesweep status", command("status"), 0.5)
    check = Start("fakesweep check", command("check", "--model", MODEL, str(picture)))
    return (*HELP, status, IMPORTING, WORKER, check)


def measure(folder: Path, turns: int) -> Found:
    """Return the times of each start by name, one a turn.

    Raises:
        RuntimeError: a command failed.
    """
    recipe = Corpus(1, truncated_percent=0, duplicate_percent=0)
    [picture] = make_corpus(recipe, folder / "corpora").iterdir()
    found: Found = {}
    with fresh_stack() as stack:
        for turn in range(turns + 1):  # the first turn fills the file cache
            for start in starts(picture):
                took = _took(start, stack)
                if turn:
                    found.setdefault(start.name, []).append(took)
    return found


def lines(found: Mapping[str, Sequence[Took]]) -> list[str]:
    """Return a line for each start with its medians and goal."""
    wanted = {start.name: start.wanted for start in starts(Path())}
    importing = statistics.median(one.wall for one in found[IMPORTING.name])
    return [_line(name, took, wanted[name], importing) for name, took in found.items()]


def as_json(found: Mapping[str, Sequence[Took]]) -> dict[str, object]:
    """Return the results as JSON values."""
    return {name: [asdict(one) for one in took] for name, took in found.items()}


def main() -> None:
    """Measure some turns and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("~/.cache/fakesweep-bench"))
    asked = parser.parse_args()
    print(*lines(measure(asked.folder.expanduser().resolve(), asked.turns)), sep="\n")


def _line(name: str, took: Sequence[Took], wanted: float | None, importing: float) -> str:
    walls = [one.wall for one in took]
    middle = statistics.median(walls)
    said = (
        f"{name:38} {middle:6.2f} s ({min(walls):.2f} to {max(walls):.2f}; processor "
        f"{statistics.median(one.processor for one in took):.2f} s), "
        f"{middle / importing:.2f} x importing"
    )
    if wanted is None:
        return said
    return f"{said}; wanted {wanted:g} s at most: {'met' if middle <= wanted else 'NOT met'}"


def _took(start: Start, stack: Stack) -> Took:
    """Start a command once, and return its times until it is ready."""
    log = stack.home / "start.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            start.words, stdout=output, stderr=output, env=stack.environment({"DEVICE": "cpu"})
        )
    if start is not WORKER:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{start.name}: {log.read_text('utf-8', 'replace').strip()}")
        return Took(time.perf_counter() - began, used.ru_utime + used.ru_stime)
    try:
        wait_until(lambda: READY in log.read_bytes(), process, log, READY_SECONDS)
        return Took(time.perf_counter() - began, _processor_seconds(process.pid))
    finally:
        end(process)


def _processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


if __name__ == "__main__":
    main()
