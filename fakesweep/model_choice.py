"""The models that a command judges by: those that were named, and whether they can be loaded."""

from collections.abc import Sequence

import click

from fakesweep.schema.judging.catalogue import BUNDLED, DEFAULT_MODEL, Catalogue
from fakesweep.schema.settings import Settings


def chosen_models(models: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """Return the models that were named, or those of the settings, or the one to try out with."""
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
    """Refuse models that a worker of this machine could not load, as far as that can be known.

    Raises:
        CatalogueError: one is not known.
        ModelError: its folder lacks files, or the Hub cannot be asked and the cache lacks it.
    """
    for entry in map(catalogue.model, models):
        if not entry.source.startswith(BUNDLED):
            from fakesweep.workers.models.hub import check  # noqa: PLC0415 - it loads the Hub's client

            check(entry)
