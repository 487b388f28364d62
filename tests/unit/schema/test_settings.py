from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from fakesweep.schema.errors import SettingsError
from fakesweep.schema.settings import PRESETS, Settings, read_settings, with_preset


def test_an_empty_environment_names_nothing() -> None:
    settings = read_settings()
    assert settings.database_url is None
    assert settings.models == ()
    assert not settings.names_cluster


def test_variables_are_read_with_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_BATCH_IMAGES", "32")
    monkeypatch.setenv("FAKESWEEP_CELERY_EVENTS", "true")
    monkeypatch.setenv("BATCH_IMAGES", "64")
    assert read_settings().batch_images == 32
    assert read_settings().celery_events


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_IMAGES", "many"),
        ("BATCH_IMAGES", "0"),
        ("LEASE_SECONDS", "1"),
        ("DEVICE", "gpu"),
        ("LOG_LEVEL", "chatty"),
        ("CELERY_EVENTS", "perhaps"),
        ("S3_ADDRESSING_STYLE", "round"),
        ("S3_ENDPOINT_URL", "s3.example:9000"),
        ("S3_ENDPOINT_URL", "ftp://s3.example"),
        ("S3_ENDPOINT_URL", "http://AKIA:hush@s3.example:9000"),
        ("S3_ENDPOINT_URL", "http://AKIA:hu/sh@s3.example:9000"),
        ("SQS_ENDPOINT_URL", "https://AKIA:hush@sqs.example/"),
        ("SQS_ENDPOINT_URL", "https://sqs.example/?key=hush"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"FAKESWEEP_{name}", value)
    with pytest.raises(SettingsError, match=rf"^FAKESWEEP_{name} cannot be used: .*docs") as said:
        read_settings()
    assert "\n" not in str(said.value)
    assert "hush" not in str(said.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("FAKESWEEP_DATABSE_URL", "did you mean FAKESWEEP_DATABASE_URL"),
        ("fakesweep_broker_ulr", "did you mean FAKESWEEP_BROKER_URL"),
        ("FAKESWEEP_LOADER", "FAKESWEEP_LOADERS"),
        ("FAKESWEEP_MAX_IMAGE_BYTE", "FAKESWEEP_MAX_IMAGE_BYTES"),
        ("FAKESWEEP_BROKER", "FAKESWEEP_BROKER_URL"),
        ("FAKESWEEP_QQQQQQQ", "unset it"),
        ("FAKESWEEP_", "unset it"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_and_what_was_meant_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "hush")
    with pytest.raises(SettingsError, match=rf"^{name} is no setting; .*{said}.*docs") as refused:
        read_settings()
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_service_variables_of_kubernetes_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for service in ("FAKESWEEP", "FAKESWEEP_API"):
        for name, value in (
            ("SERVICE_HOST", "10.0.0.7"), ("SERVICE_PORT", "8000"), ("SERVICE_PORT_HTTP", "8000"),
            ("PORT", "tcp://10.0.0.7:8000"), ("PORT_8000_TCP", "tcp://10.0.0.7:8000"),
            ("PORT_8000_TCP_PROTO", "tcp"), ("PORT_8000_TCP_ADDR", "10.0.0.7"),
        ):  # fmt: skip
            monkeypatch.setenv(f"{service}_{name}", value)
    assert read_settings() == Settings()


def test_a_setting_misspelt_in_python_is_refused_too() -> None:
    with pytest.raises(ValidationError, match="databse_url"):
        Settings(databse_url="postgresql://h/x")  # type: ignore[call-arg]


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BATCH_IMAGES", "HOME", "MODELS", "DEVICE"):
        monkeypatch.setenv(f"FAKESWEEP_{name}", "")
    assert read_settings() == Settings()
    assert read_settings().database_url is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("siglip-deepfake", ("siglip-deepfake",)),
        ("a, b ,c", ("a", "b", "c")),
        ("a,,b,", ("a", "b")),
        (",", ()),
        ("org/model,./folder with spaces", ("org/model", "./folder with spaces")),
    ],
)
def test_models_are_split_at_commas(
    monkeypatch: pytest.MonkeyPatch, written: str, read: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FAKESWEEP_MODELS", written)
    assert read_settings().models == read


def test_paths_become_absolute_and_know_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read_settings().home == tmp_path / ".fakesweep"
    monkeypatch.setenv("FAKESWEEP_HOME", "~/elsewhere")
    monkeypatch.setenv("FAKESWEEP_CATALOGUE", "own/../models.toml")
    assert read_settings().home == tmp_path / "elsewhere"
    assert read_settings().catalogue == tmp_path / "models.toml"


def test_a_cluster_is_named_by_both_servers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", "postgresql://db.example/fakesweep")
    assert not read_settings().names_cluster
    monkeypatch.setenv("FAKESWEEP_BROKER_URL", "redis://redis.example/0")
    assert read_settings().names_cluster


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings().batch_images = 1  # type: ignore[misc]  # the point of the test


def test_a_preset_sets_what_nobody_set() -> None:
    settings = with_preset(Settings(preset="224", batches_in_flight=3))
    assert settings.device_batch_images == PRESETS["224"]["device_batch_images"]
    assert settings.batches_in_flight == 3


def test_without_a_preset_the_settings_stand() -> None:
    assert with_preset(Settings()) == Settings()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_choice_of_settings_that_are_valid(name: Literal["224", "512"]) -> None:
    assert Settings(preset=name, **PRESETS[name]).preset == name  # type: ignore[arg-type]
