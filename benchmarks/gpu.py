"""GPU benchmark, part by part and end to end: `python3 benchmarks/gpu.py`.

It runs on a bare machine without a network, with PyTorch, transformers, numpy, Pillow, and a
folder of wheels that `--fetch-wheels` fills elsewhere.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

MODELS = ("vit-b-224", "siglip-b-224", "siglip-b-512")
TINY = "vit-tiny"
PARTS = ("matrix", "decode", "engine", "sweep", "pipeline")
IN_FLIGHT = (4, 16)
"""Batches in flight: fakesweep's default, and enough for every loader of 16 cores."""


def main(words: list[str] | None = None) -> None:
    """Install missing packages, measure, print a table, and write JSON on request."""
    if not __package__:
        sys.path.insert(0, str(REPOSITORY))
    # Up to here only the standard library is sure to be installed.
    from benchmarks import gpu_wheels  # noqa: PLC0415

    asked = arguments(words)
    if asked.fetch_wheels:
        print(gpu_wheels.fetch(asked.fetch_wheels, asked.python_version))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, and so stops the servers
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="fs-gpu-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _stay_within(folder)
        _bring(asked.wheels, folder / "packages")
        measure(asked, folder)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _stay_within(folder: Path) -> None:
    """Keep compiled kernels below the folder, and switch network access off."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _bring(wheels: Path, packages: Path) -> None:
    """Install missing packages from the wheels, or exit with a line that names them."""
    from benchmarks import gpu_wheels  # noqa: PLC0415 - as above

    gpu_wheels.set_path_of_children([])
    if wheels.is_dir():
        print(f"installed: {', '.join(gpu_wheels.install(wheels, packages)) or 'nothing'}")
    missing = gpu_wheels.absent(gpu_wheels.BARE + gpu_wheels.NEEDED)
    if missing:
        raise SystemExit(gpu_wheels.how_to_bring(missing))
    if missing := gpu_wheels.absent(gpu_wheels.SERVER):
        print(f"sweeps will go into a file; {gpu_wheels.how_to_bring(missing)}")


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """Measure; all packages are installed."""
    from benchmarks.gpu_run import run  # noqa: PLC0415 - as above
    from fakesweep.schema.errors import FakesweepError  # noqa: PLC0415 - as above

    try:
        run(asked, folder)
    except FakesweepError as error:
        raise SystemExit(str(error)) from None


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line, with defaults for the device."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.py", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer images, one repeat, one second each")
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="parts; all by default")
    add("--models", nargs="+", choices=(*MODELS, TINY), default=MODELS)
    add("--images", type=int, help="in a sweep (20480; on a CPU 64; quick: 4096, on a CPU 16)")
    add(
        "--in-flight", nargs="+", type=int, help="batches in flight in a sweep (4 and 16; quick: 4)"
    )
    add("--repeats", type=int, help="of each measurement (3; quick: 1)")
    add("--seconds", type=float, help="duration of each device measurement (3; quick: 1)")
    add("--minutes", type=float, default=8.5, help="no measurement starts later (8.5)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--json", type=Path, metavar="FILE", help="write what was measured to this file, too")
    add("--folder", type=Path, help="keep all files here (default: a temporary folder)")
    add(
        "--wheels", type=Path, metavar="FOLDER", default=REPOSITORY / ".wheels",
        help="wheels of missing packages (default: .wheels in the repository)",
    )  # fmt: skip
    add(
        "--fetch-wheels", type=Path, metavar="FOLDER",
        help="only download those wheels into a folder, on a machine with a network",
    )  # fmt: skip
    add(
        "--python-version", metavar="N.M", default=f"{sys.version_info[0]}.{sys.version_info[1]}",
        help="Python version of the wheels (default: this one)",
    )  # fmt: skip
    asked = parser.parse_args(words)
    on_cpu = asked.device == "cpu"
    few, many = (16, 64) if on_cpu else (4_096, 20_480)
    asked.images = asked.images or (few if asked.quick else many)
    asked.in_flight = asked.in_flight or (IN_FLIGHT[:1] if asked.quick else IN_FLIGHT)
    asked.repeats = asked.repeats or (1 if asked.quick else 3)
    asked.seconds = asked.seconds or (1.0 if asked.quick else 3.0)
    asked.folder = asked.folder and asked.folder.resolve()
    return asked


if __name__ == "__main__":
    main()
