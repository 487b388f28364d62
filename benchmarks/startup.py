"""How long starts take: help texts, `status`, `check`, and a worker until it takes work.

All in turns, beside importing torch and transformers alone, each in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import Corpus, make_corpus
from benchmarks.servers import Stack, command, end, fresh_stack, wait_until

READY = b"worker_ready"
READY_SECONDS = 300.0
IMPORTS = "import torch, transformers.models.vit.modeling_vit"
MODEL = "vit-tiny-cifake"


@dataclass(frozen=True)
class Start:
    """What is started, and in how many seconds it should be there; None where nobody says."""

    name: str
    words: Sequence[str]
    wanted: float | None = None


HELP = tuple(
    Start(f"fakesweep {words}", command(*words.split()), 0.3)
    for words in ("--help", "scan --help", "status --help", "worker --help", "schedule add --help")
)
WORKER = Start("fakesweep worker, until it is ready", command("worker", "--model", MODEL), 2.5)
IMPORTING = Start("importing torch and transformers' ViT", (sys.executable, "-c", IMPORTS))

Seconds = dict[str, list[float]]


def starts(picture: Path) -> tuple[Start, ...]:
    """Return everything that is started, in the order of a turn."""
    status = Start("fakesweep status", command("status"), 0.5)
    check = Start("fakesweep check", command("check", "--model", MODEL, str(picture)))
    return (*HELP, status, IMPORTING, WORKER, check)


def measure(folder: Path, turns: int) -> Seconds:
    """Return the seconds of each start, by its name, one a turn.

    Raises:
        RuntimeError: one of them failed.
    """
    recipe = Corpus(1, truncated_percent=0, duplicate_percent=0)
    [picture] = make_corpus(recipe, folder / "corpora").iterdir()
    found: Seconds = {}
    with fresh_stack() as stack:
        for turn in range(turns + 1):  # what the first one reads from disk stays in memory
            for start in starts(picture):
                seconds = _seconds(start, stack)
                if turn:
                    found.setdefault(start.name, []).append(seconds)
    return found


def lines(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the median of each start, and what was wanted of it."""
    wanted = {start.name: start.wanted for start in starts(Path())}
    importing = statistics.median(found[IMPORTING.name])
    return [_line(name, seconds, wanted[name], importing) for name, seconds in found.items()]


def as_json(found: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return what was measured as a benchmark's file has it."""
    return {"seconds": {name: list(seconds) for name, seconds in found.items()}}


def main() -> None:
    """Measure some turns and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("~/.cache/fakesweep-bench"))
    asked = parser.parse_args()
    print(*lines(measure(asked.folder.expanduser().resolve(), asked.turns)), sep="\n")


def _line(name: str, seconds: Sequence[float], wanted: float | None, importing: float) -> str:
    middle = statistics.median(seconds)
    said = (
        f"{name:38} {middle:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
        f"{middle / importing:.2f} x importing"
    )
    if wanted is None:
        return said
    return f"{said}; wanted {wanted:g} s at most: {'met' if middle <= wanted else 'NOT met'}"


def _seconds(start: Start, stack: Stack) -> float:
    """Start it once, and return how long it took to be there."""
    log = stack.home / "start.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            start.words, stdout=output, stderr=output, env=stack.environment({"DEVICE": "cpu"})
        )
    if start is not WORKER:
        if process.wait(READY_SECONDS):
            raise RuntimeError(f"{start.name}: {log.read_text('utf-8', 'replace').strip()}")
        return time.perf_counter() - began
    try:
        wait_until(lambda: READY in log.read_bytes(), process, log, READY_SECONDS)
        return time.perf_counter() - began
    finally:
        end(process)


if __name__ == "__main__":
    main()
