import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from fakesweep.cli import cli
from fakesweep.processes import END_SECONDS
from schema.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "infra" / "example.env"
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}

PROGRAMS = {
    "postgres": {"pg_isready"},
    "redis": {"redis-cli", "grep"},
    "rclone/rclone": {"rclone"},
    "fakesweep-producer": {"fakesweep", "python"},
    "fakesweep-worker": {"fakesweep"},
}
"""What each image is known to bring, of what the file calls."""


def test_the_file_is_valid_compose() -> None:
    checked = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"),
         "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_it_holds_the_services_of_a_whole_fakesweep() -> None:
    assert set(SERVICES) == {
        "postgres", "redis", "migrate", "producer", "api", "worker", "worker-gpu", "s3"
    }  # fmt: skip
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name: given for name, given in profiles.items() if given} == {
        "api": ["api"], "worker": ["cpu"], "worker-gpu": ["gpu"], "s3": ["try"]
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_every_fakesweep_command_is_one(name: str) -> None:
    _parse(SERVICES[name]["command"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_lasting_service_is_watched_by_programs_its_image_brings(name: str) -> None:
    image, _, _ = SERVICES[name]["image"].partition(":")
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    called = [shlex.split(part) for part in words[0].split("|")] if kind == "CMD-SHELL" else [words]
    assert {program for program, *_ in called} <= PROGRAMS[image]
    for command in called:
        if command[0] == "fakesweep":
            _parse(command)
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate", "api"}))
def test_ours_are_healthy_where_they_make_progress_and_are_stopped_in_order(name: str) -> None:
    role = name.removesuffix("-gpu")
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "fakesweep", "health", role]
    stop_seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert stop_seconds > Settings().grace_seconds + (END_SECONDS if role == "worker" else 0)


def test_the_api_is_healthy_where_it_answers_at_the_address_it_listens_at() -> None:
    api = SERVICES["api"]
    *_, script = api["healthcheck"]["test"]
    asked = re.search(r"urlopen\('(.+?)'", script)
    assert asked is not None
    assert asked[1] == "http://127.0.0.1:8000/openapi.json"
    assert api["command"][2:] == ["--host", "0.0.0.0"]
    assert api["ports"] == ["127.0.0.1:8000:8000"], "nobody else's network sees plain HTTP"


def test_only_the_migration_ends_and_is_not_started_again() -> None:
    assert SERVICES["migrate"]["command"] == ["fakesweep", "db", "upgrade"]
    assert SERVICES["migrate"]["restart"] == "no"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_waits_for_exists_and_can_come_true(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        if needed == "migrate":
            assert how["condition"] == "service_completed_successfully"
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[needed]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    ours = {key for key in SERVICES[name]["environment"] if key.startswith(PREFIX)}
    assert ours <= SETTINGS


@pytest.mark.parametrize("name", OURS)
def test_every_setting_can_be_set(name: str) -> None:
    elsewhere = {"FAKESWEEP_HOME", "FAKESWEEP_DEVICE", "FAKESWEEP_CATALOGUE"}
    assert elsewhere <= SETTINGS
    assert SETTINGS - elsewhere <= set(SERVICES[name]["environment"])


def test_every_given_value_makes_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["worker"]["environment"].items():
        if key.startswith(PREFIX) and value is not None:
            monkeypatch.setenv(key, re.sub(r"\$\{[^}]*\}", "secret", value))
    assert read_settings().names_cluster


def test_passwords_have_no_default_and_the_example_names_them() -> None:
    written = COMPOSE.read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?", written))
    assert wanted == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert not re.findall(r"\$\{\w*PASSWORD(?!:\?)", written)
    assert re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE) == sorted(wanted)


def test_the_example_sets_only_what_the_file_takes() -> None:
    taken = {key for name in OURS for key in SERVICES[name]["environment"]}
    taken |= set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) | {"COMPOSE_PROFILES"}
    assert set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE)) <= taken


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("name", OURS)
def test_our_images_are_built_here_and_never_pulled(name: str) -> None:
    assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()
    assert SERVICES[name]["pull_policy"] == "build"


def test_redis_refuses_when_full_and_keeps_what_it_was_given() -> None:
    lines = YAML(typ="safe").load(COMPOSE)["configs"]["redis"]["content"].splitlines()
    assert {"maxmemory-policy noeviction", "appendonly yes"} <= set(lines)


def _parse(words: list[str]) -> None:
    """Parse a command line as the command would, up to running it."""
    program, *rest = words
    assert program == "fakesweep"
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), rest.pop(0))
    assert command, words
    command.make_context(program, rest)
