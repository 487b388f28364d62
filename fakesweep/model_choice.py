"""Models that a command judges by, and whether this machine can load them."""

from collections.abc import Sequence

import click

from fakesweep.schema.judging.catalogue import BUNDLED, DEFAULT_MODEL, Catalogue
from fakesweep.schema.settings import Settings


def chosen_models(models: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """Return the models named, else those of the settings, else the bundled one with a warning."""
    if models or settings.models:
        return models or settings.models
    click.echo(
        f"fakesweep: no --model given, so {DEFAULT_MODEL} judges: it is for trying the system "
        f"out, not for judging pictures (outside CIFAKE it is at chance); "
        f"`fakesweep models list` shows the detectors",
        err=True,
    )
    return (DEFAULT_MODEL,)


def check_models(models: Sequence[str], catalogue: Catalogue) -> None:
    """Check that a worker on this machine can load the models, without loading them.

    Raises:
        CatalogueError: a model is not in the catalogue.
        ModelError: a folder lacks files, or neither the Hub nor the cache has a model.
    """
    for entry in map(catalogue.model, models):
        if not entry.source.startswith(BUNDLED):
            from fakesweep.workers.models.hub import check  # noqa: PLC0415 - it loads the Hub's client

            check(entry)
