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
from fakesweep.foreground.worker_process import END_SECONDS
from fakesweep.schema.settings import PREFIX, Settings, read_settings
from fakesweep.schema.words import LoginRole

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "infra" / "example.env"
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
JOBS = {"migrate", "logins"}
LASTING = sorted(set(OURS) - JOBS)
PASSWORDS = {
    "migrate": {"POSTGRES"},
    "logins": {"POSTGRES", "PRODUCER", "API", "WORKER", "ANALYST"},
    "producer": {"PRODUCER", "REDIS"},
    "api": {"API", "REDIS"},
    "worker": {"WORKER", "REDIS"},
    "worker-gpu": {"WORKER", "REDIS"},
    "postgres": {"POSTGRES"},
    "redis": {"REDIS"},
    "s3": set[str](),
}
"""Whose passwords each service is told."""
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
        "postgres", "redis", "migrate", "logins", "producer", "api", "worker", "worker-gpu", "s3"
    }  # fmt: skip
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name: given for name, given in profiles.items() if given} == {
        "api": ["api"], "worker": ["cpu"], "worker-gpu": ["gpu"], "s3": ["try"]
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_every_fakesweep_command_is_one(name: str) -> None:
    _parse(SERVICES[name]["command"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - JOBS))
def test_every_lasting_service_is_watched_by_programs_its_image_brings(name: str) -> None:
    image, _, _ = SERVICES[name]["image"].partition(":")
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    called = [shlex.split(part) for part in words[0].split("|")] if kind == "CMD-SHELL" else [words]
    assert {program for program, *_ in called} <= PROGRAMS[image]
    for command in called:
        if command[0] == "fakesweep":
            _parse(command)
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(set(LASTING) - {"api"}))
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


def test_only_the_owners_jobs_end_and_are_not_started_again() -> None:
    assert SERVICES["migrate"]["command"] == ["fakesweep", "db", "upgrade"]
    assert SERVICES["logins"]["command"] == ["fakesweep", "db", "login", *LoginRole]
    assert {SERVICES[name]["restart"] for name in JOBS} == {"no"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_told_the_passwords_it_needs_alone(name: str) -> None:
    told = str(SERVICES[name].get("environment", {}))
    assert set(re.findall(r"\$\{(\w+)_PASSWORD", told)) == PASSWORDS[name]


@pytest.mark.parametrize("name", LASTING)
def test_each_process_connects_by_a_login_of_its_own_role(name: str) -> None:
    url = SERVICES[name]["environment"]["FAKESWEEP_DATABASE_URL"]
    role = name.removesuffix("-gpu")
    assert url.startswith(f"postgresql://{role}:${{{role.upper()}_PASSWORD:?")
    assert role in SERVICES["logins"]["command"]
    assert SERVICES[name]["depends_on"]["logins"]["condition"] == "service_completed_successfully"
    assert SERVICES["logins"]["depends_on"]["migrate"]["condition"] == (
        "service_completed_successfully"
    )


@pytest.mark.parametrize("name", OURS)
def test_keys_are_given_to_those_alone_who_use_them(name: str) -> None:
    told = set(SERVICES[name]["environment"])
    aws = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"}
    is_worker = name.startswith("worker")
    assert {one for one in told if one.startswith("AWS")} == (
        aws if is_worker or name == "producer" else set()
    )
    assert {one for one in told if one.startswith("HF_")} == (
        {"HF_TOKEN", "HF_HUB_OFFLINE"} if is_worker else set()
    )


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    written = {place.partition(":")[0] for place in service.get("tmpfs", [])}
    written |= {place for place in service.get("volumes", []) if ":" not in place}
    assert "/tmp" in written
    gained = {"postgres": {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}}
    gained |= {"s3": {"DAC_OVERRIDE"}}
    assert set(service.get("cap_add", [])) == gained.get(name, set())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_waits_for_exists_and_can_come_true(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        if needed in JOBS:
            assert how["condition"] == "service_completed_successfully"
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[needed]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    ours = {key for key in SERVICES[name]["environment"] if key.startswith(PREFIX)}
    assert ours <= SETTINGS


@pytest.mark.parametrize("name", LASTING)
def test_every_setting_can_be_set(name: str) -> None:
    elsewhere = {"FAKESWEEP_HOME", "FAKESWEEP_DEVICE"}
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
    assert wanted == {f"{name}_PASSWORD" for told in PASSWORDS.values() for name in told}
    assert not re.findall(r"\$\{\w*PASSWORD(?!:\?)", written)
    assert re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE) == [
        f"{name}_PASSWORD" for name in
        ("POSTGRES", "REDIS", "PRODUCER", "API", "WORKER", "ANALYST")
    ]  # fmt: skip
    assert len(wanted) == len(PASSWORDS["logins"]) + 1


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
