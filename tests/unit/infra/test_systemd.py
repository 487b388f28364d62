"""The units of systemd are valid, and call commands that exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fakesweep.cli import cli
from tests.support.servers import missing

ROOT = Path(__file__).resolve().parents[3]
UNITS = sorted((ROOT / "infra" / "systemd").iterdir())
INSTALLED = "/opt/fakesweep/bin/fakesweep"
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
named = pytest.mark.parametrize("unit", SERVICES, ids=lambda path: str(path.name))


def called(unit: Path) -> list[list[str]]:
    lines = re.findall(r"^Exec\w+=(.*)$", unit.read_text("utf-8"), re.MULTILINE)
    split = [shlex.split(line) for line in lines]
    in_shells = [shlex.split(word) for words in split for word in words if " " in word]
    return [
        words[words.index(INSTALLED) + 1 :] for words in split + in_shells if INSTALLED in words
    ]


def test_systemd_finds_nothing(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze")
    program = Path(sys.executable).with_name("fakesweep")
    for unit in UNITS:
        there = unit.read_text("utf-8").replace(INSTALLED, str(program))
        (tmp_path / unit.name.replace("@.", "@1.")).write_text(there)
    found = subprocess.run(
        [str(analyze), "verify", "--man=no", "--recursive-errors=no", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in found.stderr.splitlines() if "fakesweep" in line]
    assert (found.returncode, said) == (0, [])


@named
def test_a_unit_calls_commands_with_options_that_exist(unit: Path) -> None:
    assert called(unit)
    for words in called(unit):
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@named
def test_a_server_that_a_service_started_again_outlives_it(unit: Path) -> None:
    text = unit.read_text("utf-8")
    assert ("Restart=always" in text) == ("KillMode=process" in text)
