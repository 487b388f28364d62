import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from fakesweep.schema.errors import CatalogueError, DeviceError, ModelAway, ModelError
from fakesweep.schema.judging.catalogue import Catalogue, ModelEntry
from fakesweep.schema.ledger.retry import LedgerRetry
from fakesweep.workers.models.load import LoadedModel
from fakesweep.workers.scoring import model_cache
from fakesweep.workers.scoring.model_cache import ModelCache

CATALOGUE = Catalogue(
    {key: ModelEntry(key, f"/models/{key}") for key in ("quick", "slow", "third")}, {}
)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Forgetful:
    """Ledger retry that discards all rows."""

    def __init__(self) -> None:
        self.rows = 0

    def run(self, work: Any) -> int:  # noqa: ARG002 - nothing is written
        self.rows += 1
        return self.rows


def loaded(entry: ModelEntry) -> LoadedModel:
    said = SimpleNamespace(
        identity=SimpleNamespace(revision="1", fingerprint="f", key=entry.key),
        place=SimpleNamespace(device="cpu", precision=SimpleNamespace(value="float32")),
        call_images=1,
        seconds=0.0,
    )
    return cast("LoadedModel", said)


def opened(load: Callable[[ModelEntry], LoadedModel], **more: Any) -> ModelCache:
    return ModelCache(cast("LedgerRetry", Forgetful()), uuid4(), CATALOGUE, load, **more)


class Trouble:
    """Raises these errors, one at each try, then loads."""

    def __init__(self, *errors: Exception) -> None:
        self.left = list(errors)
        self.tries = 0

    def __call__(self, entry: ModelEntry) -> LoadedModel:
        self.tries += 1
        if self.left:
            raise self.left.pop(0)
        return loaded(entry)


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "FIRST_PAUSE_SECONDS", 0.0)


def test_who_wants_a_loaded_model_does_not_wait_for_the_load_of_another() -> None:
    go_on = threading.Event()

    def load(entry: ModelEntry) -> LoadedModel:
        if entry.key == "slow":
            assert go_on.wait(30)
        return loaded(entry)

    models = opened(load)
    models.model("quick")
    slow = threading.Thread(target=models.model, args=("slow",))
    slow.start()
    assert models.models(["quick"]).models
    assert models.models(["third"]).models, "nor does another load"
    with pytest.raises(ModelAway, match="'slow' is being loaded"):
        models.models(["slow"], may_wait=False)
    go_on.set()
    slow.join()
    assert len(models.models(["quick", "slow"]).models) == 2


def test_a_model_is_loaded_once_for_all_who_ask_at_once() -> None:
    load = Trouble()
    models = opened(load)
    threads = [threading.Thread(target=models.model, args=("quick",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load.tries == 1


@pytest.mark.usefixtures("_no_pause")
def test_trouble_that_passes_is_no_refusal_and_is_tried_again() -> None:
    load = Trouble(ModelAway("the Hub answers 503"), ModelAway("429"))
    models = opened(load)
    for said in ("503", "429"):
        with pytest.raises(ModelAway, match=said):
            models.models(["quick"])
    assert models.models(["quick"]).models
    assert load.tries == 3


def test_between_two_tries_there_is_a_pause_that_grows() -> None:
    load = Trouble(ModelAway("503"))
    models = opened(load)
    for _ in range(3):
        with pytest.raises(ModelAway, match="503"):
            models.models(["quick"])
    assert load.tries == 1
    assert [model_cache.pause_after(tries) for tries in (1, 2, 3, 4, 5, 99)] == [
        5,
        10,
        20,
        40,
        60,
        60,
    ]


@pytest.mark.usefixtures("_no_pause")
def test_trouble_that_lasts_too_long_is_a_refusal_that_says_so() -> None:
    models = opened(Trouble(ModelAway("503"), ModelAway("503")), retry_seconds=0)
    ready = models.models(["quick"])
    assert "503 (tried for 0 s, FAKESWEEP_MODEL_PATIENCE_SECONDS)" in str(ready.refused["quick"])


def test_a_refusal_stands_until_somebody_asks_anew() -> None:
    load = Trouble(ModelError("its labels contradict the catalogue"))
    models = opened(load)
    for _ in range(3):
        ready = models.models(["quick"], asked_at=LONG_AGO, claimed_at=LONG_AGO)
        assert "contradict" in str(ready.refused["quick"])
    assert load.tries == 1
    retried = LONG_AGO + timedelta(seconds=1)
    ready = models.models(["quick"], asked_at=retried, claimed_at=retried)
    assert (len(ready.models), ready.refused) == (1, {})


def test_of_two_models_the_one_that_can_be_loaded_is() -> None:
    def load(entry: ModelEntry) -> LoadedModel:
        if entry.key == "slow":
            raise ModelError("refused")
        return loaded(entry)

    ready = opened(load).models(["slow", "quick"])
    assert (len(ready.models), list(ready.refused)) == (1, ["slow"])


@pytest.mark.usefixtures("_no_pause")
def test_whatever_a_load_trips_over_is_trouble_that_may_pass() -> None:
    trouble = Trouble(PermissionError(13, "denied"), RuntimeError("odd"), ZeroDivisionError())
    many = opened(trouble)
    for _ in range(3):
        with pytest.raises(ModelAway, match="cannot be loaded now"):
            many.models(["quick"])
    assert len(many.models(["quick"]).models) == 1


def test_a_broken_device_is_neither() -> None:
    with pytest.raises(DeviceError, match="illegal access"):
        opened(Trouble(DeviceError("illegal access"))).models(["quick"])


def test_a_key_that_is_not_known_names_the_machine_and_the_setting() -> None:
    models = opened(loaded, catalogue_name="FAKESWEEP_CATALOGUE is /etc/models.toml there")
    ready = models.models(["our-own"])
    said = str(ready.refused["our-own"])
    assert "model 'our-own' is not known" in said
    assert said.startswith("the worker on ")
    assert "FAKESWEEP_CATALOGUE is /etc/models.toml there" in said
    assert isinstance(ready.refused["our-own"], CatalogueError)


def test_a_folder_that_is_missing_beside_others_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ModelAway, match="does not exist"):
        opened(loaded).models([str(tmp_path / "model")])
    assert opened(loaded).models(["/no/such/folder"]).refused, "nothing of it is on this machine"
