"""Machine limits: rates of single tasks, each measured in processes that do nothing else."""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import GFLOP_OF_VIT_B
from benchmarks.machine import REPOSITORY, cores
from benchmarks.runs import Job
from benchmarks.s3 import credentials
from benchmarks.servers import bare_environment
from fakesweep.schema.settings import Settings

MATRIX_SECONDS = 3.0

_SIDE = 2_048


def matrix_rate(_: Job) -> float:
    """Return the images of ViT-B/16 a second that `torch.mm` in bfloat16 would allow."""
    gflops = _asked("matrix", str(MATRIX_SECONDS))["bfloat16"]
    return float(gflops) / GFLOP_OF_VIT_B


def decode_rate(job: Job) -> float:
    """Return images a second of one bare process for each core that reads, decodes and resizes.

    The processes make the product's calls only: no hash, no ledger, no model.
    """
    return float(_asked("decode", str(job.folder), str(job.checkpoint))["images_per_second"])


def fetch_rate(job: Job) -> float:
    """Return images a second of one bare process for each core that fetches from the job's S3.

    The processes make the loaders' calls only, with the same concurrency.
    """
    settings = {f"FAKESWEEP_{name}": value for name, value in job.settings.items()}
    words = ("fetch", str(job.folder), job.source)
    return float(_asked(*words, **settings, **credentials())["images_per_second"])


WALLS: Mapping[str, Callable[[Job], float]] = {
    "bare decode": decode_rate,
    "bare fetch": fetch_rate,
    "bf16 matrices": matrix_rate,
}
"""Machine limits in images a second, by the names in the goals."""


def _asked(*words: str, **more: str) -> Any:
    """Measure in a new process, which leaves this one unchanged."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rates", *words], env=bare_environment() | more,
        cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _measure_matrices(seconds: float) -> dict[str, float]:
    import torch  # noqa: PLC0415 - the decoding process does not need it

    torch.set_num_threads(cores())
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = torch.rand(_SIDE, _SIDE).to(kind), torch.rand(_SIDE, _SIDE).to(kind)
        torch.mm(a, b)
        rates = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            torch.mm(a, b)
            rates.append(2 * _SIDE**3 / (time.perf_counter() - started) / 1e9)
        found[name] = round(statistics.median(rates), 1)
    return found


def _measure_together(
    work: Callable[..., None], shares: Sequence[Sequence[object]], *more: object
) -> dict[str, float]:
    """Return images a second of one process for each share; all start together."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(shares))
    times = spawn.SimpleQueue()
    processes = [
        spawn.Process(target=work, args=(share, *more, barrier, times)) for share in shares
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"measuring ended with {process.exitcode}")
    spans: list[tuple[float, float]] = [times.get() for _ in processes]
    seconds = max(end for _, end in spans) - min(start for start, _ in spans)
    return {"images_per_second": round(sum(map(len, shares)) / seconds, 1)}


def _decode(paths: Sequence[Path], checkpoint: Path, barrier: Barrier, times: Any) -> None:
    # Imported here, in the processes that need them.
    from fakesweep.schema.failures import ImageFailure  # noqa: PLC0415
    from fakesweep.workers.models.quick_import import import_quickly  # noqa: PLC0415

    import_quickly()
    from fakesweep.workers.models.processor import load_processor, plain_steps  # noqa: PLC0415
    from fakesweep.workers.sandbox.decode import decode  # noqa: PLC0415

    steps = plain_steps("bench", load_processor("bench", checkpoint))
    if steps is None:
        raise SystemExit(f"the preprocessing of {checkpoint} cannot be written as plain steps")
    most = Settings().max_image_pixels
    barrier.wait(timeout=120)
    started = time.monotonic()
    for path in paths:
        try:
            steps.prepare(decode(path.read_bytes(), most).pixels)
        except ImageFailure:
            continue
    times.put((started, time.monotonic()))


def _fetch(uris: Sequence[str], barrier: Barrier, times: Any) -> None:
    from fakesweep.workers.fetch import open_fetcher  # noqa: PLC0415 - as above

    settings = Settings()
    with (
        open_fetcher(settings) as fetcher,
        ThreadPoolExecutor(settings.fetch_concurrency) as threads,
    ):
        barrier.wait(timeout=120)
        started = time.monotonic()
        for _ in threads.map(lambda uri: len(fetcher.fetch(uri)), uris):
            pass
        times.put((started, time.monotonic()))


def main() -> None:
    """Measure one rate in this process, and print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    which = parser.add_subparsers(dest="which", required=True)
    which.add_parser("matrix").add_argument("seconds", type=float)
    decoding = which.add_parser("decode")
    decoding.add_argument("folder", type=Path)
    decoding.add_argument("checkpoint", type=Path)
    fetching = which.add_parser("fetch")
    fetching.add_argument("folder", type=Path)
    fetching.add_argument("source")
    asked = parser.parse_args()
    if asked.which == "matrix":
        found = _measure_matrices(asked.seconds)
    else:
        paths = sorted(asked.folder.iterdir())
        if asked.which == "decode":
            found = _measure_together(_decode, _shares(paths), asked.checkpoint)
        else:
            uris = [f"{asked.source}{path.name}" for path in paths]
            found = _measure_together(_fetch, _shares(uris))
    print(json.dumps(found))


def _shares(everything: Sequence[Any]) -> list[Sequence[Any]]:
    return [everything[n :: cores()] for n in range(cores())]


if __name__ == "__main__":
    main()
