import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fakesweep.schema.errors import ModelAway, ModelError
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.hub import check, pull, resolve
from tests.support.web_server import Answer, Request, WebServer, web_server

MODEL = "somebody/detector"
OLD, NEW = "a" * 40, "b" * 40

CHECKPOINT = {
    "config.json": b'{"model_type": "vit"}',
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"weights",
}
UNWANTED = {"README.md": b"# card", "pytorch_model.bin": b"the same again", "optimizer.pt": b"x"}


@dataclass
class Hub:
    """What the server in place of the Hub holds: the files of each commit, the newest one last."""

    server: WebServer
    cache: Path
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        path = request.path.partition("?")[0].strip("/").split("/")
        match path:
            case ["api", "models", owner, name, *rest] if f"{owner}/{name}" == MODEL:
                return self._about(rest)
            case [owner, name, "resolve", commit, file] if f"{owner}/{name}" == MODEL:
                content = self.commits[commit][file]
                headers = {"ETag": f'"{hash(content) & 0xFFFFFF:x}"', "X-Repo-Commit": commit}
                return Answer(body=content, headers=headers)
        return Answer(404, headers={"X-Error-Code": "RepoNotFound"})

    def _about(self, rest: list[str]) -> Answer:
        newest = list(self.commits)[-1]
        commit = newest if not rest or rest[1] == "main" else rest[1]
        if commit not in self.commits:
            return Answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        files = self.commits[commit]
        if rest and rest[0] == "tree":
            return _json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": name}
                    for name, content in files.items()
                ]
            )
        return _json({"id": MODEL, "sha": commit, "siblings": [{"rfilename": n} for n in files]})

    def ask(self, verb: str, *, revision: str | None = None, model: str = MODEL, **env: str) -> Any:
        """Call resolve or pull in a process of its own, because the client reads its
        environment once; return (folder, revision), or the message of the error.
        """
        code = (
            "import json, sys\n"
            "from fakesweep.schema.judging.catalogue import ModelEntry\n"
            "from fakesweep.schema.errors import ModelError\n"
            "from fakesweep.workers.models import hub\n"
            "verb, source, revision = sys.argv[1:]\n"
            "entry = ModelEntry(key='det', source=source, revision=revision or None)\n"
            "try:\n"
            "    folder, found = getattr(hub, verb)(entry)\n"
            "    print(json.dumps([str(folder), found]))\n"
            "except ModelError as error:\n"
            "    print(json.dumps(str(error)))\n"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "HF_HOME": str(self.cache),
            "HF_ENDPOINT": self.server.url,
            "HF_HUB_ETAG_TIMEOUT": "1",
            **env,
        }
        ran = subprocess.run(
            [sys.executable, "-c", code, verb, model, revision or ""],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        answer = json.loads(ran.stdout.splitlines()[-1])
        return answer if isinstance(answer, str) else (Path(answer[0]), answer[1])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with web_server() as server:
        hub = Hub(server, tmp_path, {OLD: CHECKPOINT | UNWANTED})
        server.answer = hub.answer
        yield hub


def test_a_checkpoint_is_brought_with_the_files_that_are_loaded_and_no_others(hub: Hub) -> None:
    folder, revision = hub.ask("pull")

    assert revision == OLD
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CHECKPOINT


def test_pickled_weights_are_brought_where_there_are_no_others(hub: Hub) -> None:
    del hub.commits[OLD]["model.safetensors"]

    folder, _ = hub.ask("pull")

    assert (folder / "pytorch_model.bin").is_file()


def test_without_a_pin_the_newest_revision_is_taken(hub: Hub) -> None:
    assert hub.ask("resolve")[1] == OLD
    hub.commits[NEW] = CHECKPOINT | {"model.safetensors": b"newer"}

    folder, revision = hub.ask("resolve")

    assert revision == NEW
    assert (folder / "model.safetensors").read_bytes() == b"newer"


def test_a_pinned_revision_that_is_cached_is_taken_without_asking(hub: Hub) -> None:
    hub.commits[NEW] = CHECKPOINT
    assert hub.ask("resolve", revision=OLD)[1] == OLD
    hub.server.requests.clear()

    assert hub.ask("resolve", revision=OLD)[1] == OLD
    assert hub.server.requests == []


def test_what_is_cached_serves_where_the_hub_cannot_be_reached(hub: Hub) -> None:
    cached = hub.ask("pull")

    assert hub.ask("resolve", HF_ENDPOINT="http://127.0.0.1:9") == cached
    assert hub.ask("resolve", HF_HUB_OFFLINE="1") == cached
    hub.server.always(Answer(503))
    assert hub.ask("resolve") == cached


def test_half_a_checkpoint_in_the_cache_is_fetched_again(hub: Hub) -> None:
    folder, _ = hub.ask("pull", revision=OLD)
    (folder / "model.safetensors").unlink()

    assert "cannot be reached" in hub.ask("resolve", revision=OLD, HF_HUB_OFFLINE="1")
    assert (hub.ask("resolve", revision=OLD)[0] / "model.safetensors").is_file()


@pytest.mark.parametrize("verb", ["resolve", "pull"])
@pytest.mark.parametrize(
    "env", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}], ids=["down", "offline"]
)
def test_an_unreachable_hub_is_said_at_once_with_what_to_do(
    hub: Hub, verb: str, env: dict[str, str]
) -> None:
    started = time.monotonic()

    message = hub.ask(verb, **env)

    assert time.monotonic() - started < 5
    assert f"model 'det' ({MODEL}) is not in the cache {hub.cache}/hub" in message
    assert "run `fakesweep models pull det` where it can be" in message
    assert all(word in message for word in ("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"))
    assert "\n" not in message


def test_what_the_hub_answers_is_trouble_that_passes_or_does_not(hub: Hub) -> None:
    statuses = [500, 502, 503, 504, 429, 408, 401, 403, 404, 410]
    hub.server.answer = lambda asked: Answer(int(asked.path.rpartition("/s")[2][:3]))
    code = (
        "import sys\n"
        "from fakesweep.schema.judging.catalogue import ModelEntry\n"
        "from fakesweep.schema.errors import ModelError\n"
        "from fakesweep.workers.models import hub\n"
        "for status in sys.argv[1:]:\n"
        "    try:\n"
        "        hub.check(ModelEntry(key='det', source=f'a/s{status}'))\n"
        "    except ModelError as error:\n"
        "        print(type(error).__name__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, statuses)],
        env={
            "PATH": os.environ["PATH"], "HF_HOME": str(hub.cache),
            "HF_ENDPOINT": hub.server.url,
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kinds = dict(zip(statuses, ran.stdout.split(), strict=True))
    assert {status for status, kind in kinds.items() if kind == "ModelAway"} == {
        500, 502, 503, 504, 429, 408,
    }  # fmt: skip
    assert set(kinds.values()) == {"ModelAway", "ModelError"}


def test_a_hub_that_does_not_answer_is_given_up(hub: Hub) -> None:
    hub.server.always(Answer(body=b"{", headers={"Content-Length": "99"}, stalls=True))
    started = time.monotonic()

    assert "cannot be reached" in hub.ask("resolve", revision=OLD)
    assert time.monotonic() - started < 10


def test_an_unknown_checkpoint_is_said_to_be_unknown(hub: Hub) -> None:
    message = hub.ask("resolve", model="somebody/else")

    assert message.startswith("model 'det' (somebody/else) does not exist on the Hub")


def test_an_unknown_revision_is_said_to_be_unknown(hub: Hub) -> None:
    assert "has no such revision" in hub.ask("resolve", revision="c" * 40)


def test_a_gated_checkpoint_says_how_to_get_in(hub: Hub) -> None:
    hub.server.always(Answer(403, headers={"X-Error-Code": "GatedRepo"}))

    assert "is gated: accept its terms on the Hub and set HF_TOKEN" in hub.ask("pull")


def test_an_impossible_id_is_refused(hub: Hub) -> None:
    assert "is no valid Hub id" in hub.ask("resolve", model="some--body/detector..x")


def test_a_repository_without_a_preprocessor_is_refused(hub: Hub) -> None:
    del hub.commits[OLD]["preprocessor_config.json"]

    assert "has no preprocessor_config.json" in hub.ask("pull")


def test_folders_are_their_own_source(tmp_path: Path) -> None:
    for name, content in CHECKPOINT.items():
        (tmp_path / name).write_bytes(content)
    entry = ModelEntry(key="mine", source=str(tmp_path))

    folder, revision = resolve(entry)

    assert folder == tmp_path
    assert revision.startswith("sha256:")
    assert pull(entry) == (folder, revision)


@pytest.mark.parametrize("source", ["bundled:no-such-model", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_refused(source: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        resolve(ModelEntry(key="m", source=source))


def test_a_folder_is_checked_without_being_loaded(tmp_path: Path) -> None:
    entry = ModelEntry(key="mine", source=str(tmp_path))
    with pytest.raises(ModelAway, match=r"has no config\.json"):
        check(entry)
    for name, content in CHECKPOINT.items():
        (tmp_path / name).write_bytes(content)
    check(entry)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelAway, match="has no weights"):
        check(entry)


def _json(content: Any) -> Answer:
    return Answer(body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})
