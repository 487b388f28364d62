"""The catalogue of models and policies: built-in entries and the operator's TOML file."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.labels import Side
from fakesweep.schema.judging.policies import BUILT_IN, Policy

DEFAULT_MODEL = "vit-tiny-cifake"
DEFAULT_POLICY = "default"
BUNDLED = "bundled:"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_MODEL_FIELDS = {"source", "revision", "labels", "about"}
_POLICY_FIELDS = {"real_below", "fake_above"}


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model of the catalogue.

    `source` is a Hub id (`owner/name`), an absolute folder (in a file it may be relative to that
    file), or `bundled:<name>`. `labels` are the sides of the classes in index order, None where the
    checkpoint's names decide.
    """

    key: str
    source: str
    revision: str | None = None
    labels: tuple[Side, ...] | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every model by key, and the policies of the operator's file.

    Policies live in PostgreSQL; a scan adds those of the file when it uses them.
    """

    models: Mapping[str, ModelEntry]
    policies: Mapping[str, Policy]

    def model(self, reference: str) -> ModelEntry:
        """Resolve a value of `--model`: a key, a folder, or a Hub id.

        Raises:
            CatalogueError: it is none of them; the message names near matches.
        """
        if reference in self.models:
            return self.models[reference]
        folder = os.path.expanduser(reference)  # noqa: PTH111 - takes an unknown ~user as a name
        if os.path.isdir(folder):  # noqa: PTH112 - says False to names no file system takes
            folder = str(Path(folder).resolve())
            return ModelEntry(key=folder, source=folder)
        if reference.startswith((".", "/", "~")):
            raise CatalogueError(f"model folder {reference!r} does not exist")
        if _HUB_ID.fullmatch(reference):
            return ModelEntry(key=reference, source=reference)
        raise CatalogueError(
            f"model {reference!r} is not known{_near(reference, self.models)}; "
            f"`fakesweep models list` shows every key, a Hub id (owner/name) or a folder works too"
        )

    def policy(self, name: str) -> Policy:
        """Return a policy of the operator's file, or a built-in one.

        Raises:
            CatalogueError: it is neither.
        """
        known = BUILT_IN | dict(self.policies)
        if name not in known:
            raise CatalogueError(
                f"policy {name!r} is not known{_near(name, known)}; "
                f"there are {', '.join(sorted(known))}"
            )
        return known[name]


def read_catalogue(operator_file: Path | None) -> Catalogue:
    """Read the built-in catalogue, overridden by the operator's entries.

    Raises:
        CatalogueError: the operator's file is missing, no TOML, or has an invalid entry.
    """
    built_in = resources.files("fakesweep.schema").joinpath("catalogue.toml").read_text("utf-8")
    models, policies = _parse("the built-in catalogue", built_in, Path())
    if operator_file is not None:
        own_models, own_policies = _parse(
            str(operator_file), _read(operator_file), operator_file.parent
        )
        models |= own_models
        policies |= own_policies
    return Catalogue(models, policies)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"catalogue file {path} cannot be read: {error}") from error


def _parse(where: str, text: str, folder: Path) -> tuple[dict[str, ModelEntry], dict[str, Policy]]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{where} is not valid TOML: {error}") from error
    _refuse_unknown(where, tables, {"models", "policies"})
    models = {
        key: _model(f"{where}: models.{key}", key, entry, folder)
        for key, entry in _table(where, tables, "models").items()
    }
    policies = {
        name: _policy(f"{where}: policies.{name}", name, entry)
        for name, entry in _table(where, tables, "policies").items()
    }
    return models, policies


def _model(where: str, key: str, entry: Any, folder: Path) -> ModelEntry:
    _refuse_unknown(where, entry, _MODEL_FIELDS)
    source, revision = entry.get("source"), entry.get("revision")
    if not isinstance(source, str) or not source:
        raise CatalogueError(f"{where} needs `source`: a Hub id (owner/name) or a folder")
    if revision is not None and not isinstance(revision, str):
        raise CatalogueError(f"{where}: `revision` is a commit in quotes")
    if not source.startswith(BUNDLED) and not _HUB_ID.fullmatch(source):
        source = str((folder / os.path.expanduser(source)).resolve())  # noqa: PTH111 - as above
    return ModelEntry(key, source, revision, _sides(where, entry), str(entry.get("about", "")))


def _sides(where: str, entry: Mapping[str, Any]) -> tuple[Side, ...] | None:
    if "labels" not in entry:
        return None
    try:
        return tuple(Side(word) for word in entry["labels"])
    except (TypeError, ValueError) as error:
        raise CatalogueError(
            f"{where}: `labels` is a list of the words {', '.join(Side)} in index order"
        ) from error


def _policy(where: str, name: str, entry: Any) -> Policy:
    _refuse_unknown(where, entry, _POLICY_FIELDS)
    try:
        return Policy(name, float(entry["real_below"]), float(entry["fake_above"]))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise CatalogueError(f"{where} needs two numbers: `real_below` and `fake_above`") from error


def _table(where: str, tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise CatalogueError(f"{where}: `{name}` is a table, as in [{name}.some-name]")
    return table


def _refuse_unknown(where: str, entry: Any, known: set[str]) -> None:
    if not isinstance(entry, dict):
        raise CatalogueError(f"{where} is a table of {', '.join(sorted(known))}")
    for field in entry.keys() - known:
        raise CatalogueError(
            f"{where} does not know `{field}`; it knows {', '.join(sorted(known))}"
        )


def _near(word: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
