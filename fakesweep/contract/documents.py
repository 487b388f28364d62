"""The documents of `docs/contract/`: their names, titles and schemas."""

import json
from pathlib import Path

from pydantic import BaseModel

from fakesweep.contract.commands import COMMANDS
from fakesweep.contract.results import (
    MANIFEST_LINE,
    MESSAGE,
    OUTPUT_LINE,
    OUTPUT_SUMMARY,
    WEBHOOK,
)
from fakesweep.contract.types import Schema
from fakesweep.producer.api import models
from fakesweep.serving.problems import ProblemDetails

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_API: dict[str, type[BaseModel]] = {
    "accepted": models.Accepted,
    "image": models.Image,
    "images": models.ImagePage,
    "scan": models.Scan,
    "scans": models.ScanPage,
    "health": models.Health,
    "problem": ProblemDetails,
}

_ELSEWHERE = {
    "output-line": ("A line of an output's results/part-….jsonl", OUTPUT_LINE),
    "output-summary": ("An output's manifest-summary.json", OUTPUT_SUMMARY),
    "manifest-line": ("A line of a manifest in JSON Lines", MANIFEST_LINE),
    "message": ("The body of a message on the queues", MESSAGE),
    "webhook": ("The body of a webhook's POST", WEBHOOK),
}


def documents() -> dict[str, Schema]:
    """Return every schema by its file name without `.schema.json`."""
    found = {
        f"command-{'-'.join(path)}": _document(f"What `fakesweep {' '.join(path)}` writes", one)
        for path, one in COMMANDS.items()
    }
    found |= {name: _document(title, one) for name, (title, one) in _ELSEWHERE.items()}
    for name, model in _API.items():
        made = _strict(model.model_json_schema(mode="serialization"))
        made.pop("examples", None)
        found[f"api-{name}"] = _document(f"What the API answers: {model.__name__}", made)
    return found


def write_documents(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in documents().items():
        (folder / f"{name}.schema.json").write_text(json.dumps(one, indent=1) + "\n", "utf-8")


def _document(title: str, body: Schema) -> Schema:
    return {"$schema": DIALECT, **body, "title": title}


def _strict(made: Schema) -> Schema:
    """Return a response's schema without further fields; nullable ones are optional in the API."""
    for one in (made, *made.get("$defs", {}).values()):
        if "properties" in one:
            one["additionalProperties"] = False
            one["required"] = [name for name in one["properties"] if _is_told(one, name)]
    return made


def _is_told(one: Schema, name: str) -> bool:
    return {"type": "null"} not in one["properties"][name].get("anyOf", [])
