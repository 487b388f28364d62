"""`fakesweep api`: the HTTP API that uploads are handed to."""

from typing import Any

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8_000,
    show_default=True,
    help="Port to listen at; 0 takes one that is free and logs it.",
)
@click.option("--openapi", "only_document", is_flag=True, help="Print the OpenAPI document alone.")
def api(**asked: Any) -> None:
    """Run the HTTP API that uploads are handed to.

    It speaks plain HTTP: whoever calls it from elsewhere comes through a proxy that speaks TLS.
    SIGTERM and Ctrl-C stop it when the requests under way are answered.
    """
    from fakesweep.actions.api import api as run

    run(**asked)
