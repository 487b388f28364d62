"""`fakesweep token`: the HTTP API's tokens."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.age_options import UNITS_HELP, AgeOption
from fakesweep.schema.words import Scope

DEFAULT_RATE = 600

MOST_IMAGES_A_MINUTE = 10_000_000


@click.group()
def token() -> None:
    """Create, list or revoke the HTTP API's tokens."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="submit images, or read results; both by default.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, MOST_IMAGES_A_MINUTE),
    default=DEFAULT_RATE,
    show_default=True,
    help="Most images submitted per minute.",
)
@click.option(
    "--expires",
    "lifetime",
    metavar="TIME",
    type=AgeOption(),
    help=f"Lifetime, such as 12h, 90d or 6mo; unlimited by default. {UNITS_HELP}",
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def add(**asked: Any) -> None:
    """Create a token and print it; it cannot be shown again."""
    from fakesweep.actions.token import add as run

    run(**asked)


@token.command("list")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_all(**asked: Any) -> None:
    """List all tokens by name, without the tokens themselves."""
    from fakesweep.actions.token import list_all as run

    run(**asked)


@token.command()
@click.argument("name", shell_complete=completion.tokens)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a page.")
def revoke(**asked: Any) -> None:
    """Revoke a token, from the next request on."""
    from fakesweep.actions.token import revoke as run

    run(**asked)
