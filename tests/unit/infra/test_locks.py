"""The locks: hashes of everything that an installation brings, but for torch's builds."""

import base64
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import deque
from importlib.metadata import requires
from pathlib import Path

import pytest
from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ROOT / "infra" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETS = {
    "producer": ("api", "parquet"),
    "worker": ("worker",),
    "demo": ("worker", "local", "demo"),
    "dev": ("worker", "local", "api", "parquet", "demo", "dev"),
}
UNLOCKED = {"torch", "triton", "pip", "setuptools"}
"""What comes with a build of torch, and the installer itself."""

named = pytest.mark.parametrize("name", SETS)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, str]:
    """Return a lock's versions by name."""
    lines = (LOCKS / f"{name}.txt").read_text()
    return {
        plain(one): said for one, said in re.findall(r"^([\w.-]+)==([^ ;]+)", lines, re.MULTILINE)
    }


def constrained() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text()
    return {plain(one): said for one, said in re.findall(r"^([\w.-]+)==(\S+)", lines, re.MULTILINE)}


def needed(extras: tuple[str, ...]) -> set[str]:
    """Return the names that an installation with these extras brings here, torch's own left out."""
    options = PROJECT["optional-dependencies"]
    left = deque([*PROJECT["dependencies"], *(one for extra in extras for one in options[extra])])
    left += ["hatchling", "editables"]
    found: set[tuple[str, str]] = set()
    while left:
        wanted = Requirement(left.popleft())
        name = plain(wanted.name)
        if name in UNLOCKED:
            continue
        for extra in ("", *wanted.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            left += [
                one
                for one in requires(name) or ()
                if (marker := Requirement(one).marker) is None or marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found}


@named
def test_a_lock_has_every_package_that_its_installation_brings(name: str) -> None:
    assert needed(SETS[name]) - locked(name).keys() == set(), "run `make lock`"


@named
def test_a_lock_says_what_constraints_say(name: str) -> None:
    known, own = constrained(), locked(name)
    assert {one: own[one] for one in own if one in known and own[one] != known[one]} == {}
    assert len(own) > 40


def test_whatever_is_constrained_is_locked_but_torch() -> None:
    assert constrained().keys() - locked("dev").keys() == {"torch"}, "run `make lock`"


@named
def test_every_line_of_a_lock_has_hashes_and_names_no_place_to_get_it_from(name: str) -> None:
    lines = (LOCKS / f"{name}.txt").read_text()
    for block in re.split(r"\n(?=[A-Za-z0-9])", lines.strip()):
        first, *hashes = [line.strip(" \\") for line in block.splitlines()]
        assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[^ ;]+( ; .+)?", first), first
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), first
    assert "://" not in lines
    assert "torch==" not in lines
    assert "nvidia" not in lines


def test_the_commands_install_by_hash_first() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [install] = re.findall(r"define install\n(.*?)endef", makefile, re.DOTALL)
    by_hash, _, rest = install.partition("&&")[2].partition("&&")[0], None, install
    assert rest.index("--require-hashes") < rest.index("--editable")
    assert "--no-deps --require-hashes" in rest
    assert "--no-build-isolation" in rest
    assert by_hash is not None
    for name in ("demo", "dev"):
        assert f"$(call install,$({name.upper()}),{name})" in makefile


@pytest.mark.parametrize("is_tampered", [False, True])
def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path, is_tampered: bool) -> None:
    wheel = tmp_path / "fakesweep_test_wheel-1.0-py3-none-any.whl"
    facts = "fakesweep_test_wheel-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as written:
        written.writestr("fakesweep_test_wheel.py", "")
        written.writestr(
            f"{facts}/METADATA", "Metadata-Version: 2.1\nName: fakesweep-test-wheel\nVersion: 1.0\n"
        )
        written.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        written.writestr(f"{facts}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if is_tampered:
        with zipfile.ZipFile(wheel, "a") as written:
            written.writestr("more.py", base64.b64encode(b"more").decode())
    lock = tmp_path / "lock.txt"
    lock.write_text(f"fakesweep-test-wheel==1.0 \\\n    --hash=sha256:{digest}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "install", "--no-deps", "--require-hashes",
         "--requirement", lock, "--no-index", "--find-links", tmp_path,
         "--target", tmp_path / "installed"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) is is_tampered, done.stderr
    assert ("DO NOT MATCH THE HASHES" in done.stderr) is is_tampered


@pytest.mark.parametrize(("insist", "is_failure"), [("", False), ("yes", True)])
def test_an_audit_that_cannot_be_made_is_loud_and_fails_where_one_insists(
    tmp_path: Path, insist: str, is_failure: bool
) -> None:
    away = tmp_path / "python"
    away.write_text("#!/bin/sh\nexit 1\n")
    away.chmod(0o755)
    done = subprocess.run(
        ["make", "audit", f"BIN={tmp_path}", f"INSIST={insist}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) is is_failure
    assert done.stderr.startswith("VULNERABILITIES ARE NOT CHECKED: ")
