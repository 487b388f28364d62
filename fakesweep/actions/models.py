"""`fakesweep models`: the detectors of the catalogue, and their download."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import click

from fakesweep.extras import require_worker_extra
from fakesweep.ledger_access import connected
from fakesweep.logging_setup import log_troubles
from fakesweep.output import write_json, write_table
from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.judging.catalogue import BUNDLED, ModelEntry, read_catalogue
from fakesweep.schema.ledger.registry.models import LoadedRevision, revisions_of
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.stack import find_database
from fakesweep.text import printable


def list_models(*, in_json: bool) -> None:
    """List the catalogue's models, and which are on this machine."""
    catalogue = read_catalogue(read_settings().catalogue)
    if in_json:
        write_json({"models": [_as_json(entry) for entry in catalogue.models.values()]})
        return
    write_table(
        ("key", "here", "source", "revision", "labels", "about"),
        (
            (entry.key, _here(entry), entry.source, entry.revision, _labels(entry), entry.about)
            for entry in catalogue.models.values()
        ),
    )


def show(*, key: str, in_json: bool) -> None:
    """Show one model, and the revisions that workers have loaded."""
    settings = read_settings()
    entry = read_catalogue(settings.catalogue).model(key)
    if in_json:
        revisions = [asdict(one) for one in _revisions(settings, entry.key)]
        write_json(_as_json(entry) | {"revisions": revisions})
        return
    lines = [
        ("key", entry.key),
        ("source", entry.source),
        ("revision", entry.revision or "not pinned: the newest is taken, and recorded"),
        ("labels", _labels(entry) or "the checkpoint's own class names"),
        ("about", entry.about),
        *(("loaded", said) for said in _loaded(settings, entry.key)),
    ]
    for name, said in lines:
        click.echo(f"{name:<10} {printable(said)}".rstrip())


def pull(*, key: str, in_json: bool) -> None:
    """Download a model into the local cache, for use without the Hub."""
    settings = read_settings()
    log_troubles(settings)
    entry = read_catalogue(settings.catalogue).model(key)
    require_worker_extra()
    from fakesweep.workers.models.hub import pull as fetch  # noqa: PLC0415 - needs the worker extra

    folder, revision = fetch(entry)
    if in_json:
        write_json({"key": entry.key, "revision": revision, "folder": str(folder)})
        return
    click.echo(f"{entry.key} at revision {revision} is in {folder}")


def _here(entry: ModelEntry) -> str:
    """Return where the checkpoint is on this machine, in a word, without reading it."""
    if entry.source.startswith(BUNDLED):
        return "bundled"
    if Path(entry.source).is_absolute():
        return "folder" if Path(entry.source).is_dir() else "missing"
    if find_spec("huggingface_hub") is None:
        return ""
    from fakesweep.workers.models.hub import is_cached  # noqa: PLC0415 - needs the worker extra

    return "cached" if is_cached(entry) else "no"


def _labels(entry: ModelEntry) -> str:
    return ", ".join(entry.labels or ())


def _loaded(settings: Settings, key: str) -> Iterator[str]:
    """Yield a line for each revision in the ledger, or why it cannot be read."""
    try:
        for loaded in _revisions(settings, key):
            now = "current" if loaded.is_current else "superseded"
            day = f"{loaded.first_loaded_at:%Y-%m-%d}"
            yield f"revision {loaded.revision}, {now}, first on {day}"
    except DatabaseError as error:
        yield f"not known: {error}"


def _revisions(settings: Settings, key: str) -> list[LoadedRevision]:
    """Return the revisions in the ledger, none while the local stack does not run.

    Raises:
        DatabaseError: the database does not answer or refuses.
    """
    address = find_database(settings)
    if address is None:
        return []
    with connected(address, "command") as connection:
        return revisions_of(connection, key)


def _as_json(entry: ModelEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "here": _here(entry) or None,
        "source": entry.source,
        "revision": entry.revision,
        "labels": entry.labels,
        "about": entry.about,
    }
