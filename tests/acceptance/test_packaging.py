"""Build and installation: one import name, beside any other distribution and program."""

import itertools
import os
import stat
import subprocess
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import fakesweep.schema
from tests.acceptance.base_install import make_environment, required, site_of
from tests.support.packages import (
    ROOT,
    UNSHIPPED,
    Built,
    build,
    build_target,
    install,
    make_application,
    make_schema_wheel,
    pip,
    product_files,
    unpacked,
)

IMPORTS = {
    "fakesweep": "import fakesweep.schema.words; fakesweep.schema.words.Lane",
    "schema": "from schema import Schema; Schema()",
}
"""A program that imports both of two distributions installed side by side."""

APPLICATION = """
import sys
from fakesweep import submit
from fakesweep.cli import main
sys.argv = ["fakesweep", "db", "upgrade"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(submit(["s3://photos/a.jpg"]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The distributions built from the tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The Python of an empty environment."""
    return make_environment(tmp_path / "venv", ())


def runs(python: Path, code: str) -> bool:
    words = [str(python), "-P", "-c", code]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def test_the_wheel_has_one_name_at_its_top_and_each_file_once(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        infos = archive.infolist()
    names = Counter(info.filename for info in infos)
    assert max(names.values()) == 1
    metadata = f"fakesweep-{fakesweep.schema.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"fakesweep", metadata}
    assert {name for name in names if name.startswith("fakesweep/")} == product_files() - UNSHIPPED
    assert "fakesweep/py.typed" in names
    assert not any(stat.S_ISLNK(info.external_attr >> 16) for info in infos)


def test_the_source_distribution_has_one_package_and_each_file_once(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    names = Counter(member.name.partition("/")[2] for member in members)
    assert max(names.values()) == 1
    assert {name for name in names if name.startswith("fakesweep/")} == product_files()
    assert {name for name in names if "/" in name} == product_files()


def test_the_wheel_of_the_source_distribution_is_that_of_the_tree(
    built: Built, tmp_path: Path
) -> None:
    build_target(unpacked(built.sdist, tmp_path / "source"), tmp_path / "dist", "wheel")
    [again] = (tmp_path / "dist").iterdir()
    assert again.name == built.wheel.name
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(built.wheel) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {
            i.filename: i.CRC for i in other.infolist()
        }


@pytest.mark.parametrize("order", [*itertools.permutations(IMPORTS)], ids="-".join)
def test_a_distribution_named_schema_is_used_beside_it_and_either_is_removed(
    built: Built, environment: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    wheels = {"fakesweep": built.wheel, "schema": make_schema_wheel(tmp_path)}
    for name in order:
        install(environment, wheels[name])
    assert all(runs(environment, code) for code in IMPORTS.values())
    removed, kept = order
    pip(environment, "uninstall", "--yes", removed)
    assert [name for name in IMPORTS if runs(environment, IMPORTS[name])] == [kept]
    assert not (site_of(tmp_path / "venv") / removed).exists()


def test_a_program_with_modules_named_like_the_rooms_migrates_and_submits(
    built: Built, tmp_path: Path, empty_database_url: str, broker_url: str
) -> None:
    python = make_environment(tmp_path / "venv", required("fakesweep"))
    install(python, built.wheel)
    program = make_application(tmp_path / "application", APPLICATION)
    ran = subprocess.run(
        [str(python), str(program)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "FAKESWEEP_DATABASE_URL": empty_database_url,
            "FAKESWEEP_BROKER_URL": broker_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines()[-1:] == ["[1]"], ran.stderr
