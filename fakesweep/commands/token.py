"""`fakesweep token`: who may use the HTTP API."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.age_options import UNITS_HELP, AgeOption
from fakesweep.schema.words import Scope

DEFAULT_RATE = 600

MOST_IMAGES_A_MINUTE = 10_000_000


@click.group()
def token() -> None:
    """Say who may use the HTTP API."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="submit (hand images in) or read (what came of them); both where none is named.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, MOST_IMAGES_A_MINUTE),
    default=DEFAULT_RATE,
    show_default=True,
    help="Images it may hand in each minute.",
)
@click.option(
    "--expires",
    "lifetime",
    metavar="TIME",
    type=AgeOption(),
    help=f"How long it is good for, as 12h, 90d or 6mo; for ever without. {UNITS_HELP}",
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def add(**asked: Any) -> None:
    """Make a token and print it, this once: it cannot be shown again."""
    from fakesweep.actions.token import add as run

    run(**asked)


@token.command("list")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_all(**asked: Any) -> None:
    """List every token there was; what it is known by is not shown."""
    from fakesweep.actions.token import list_all as run

    run(**asked)


@token.command()
@click.argument("name", shell_complete=completion.tokens)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def revoke(**asked: Any) -> None:
    """Make a token worthless, from the next request on."""
    from fakesweep.actions.token import revoke as run

    run(**asked)
