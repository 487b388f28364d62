"""`fakesweep api`: the HTTP API for submitting images and reading their results."""

from typing import Any

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8_000,
    show_default=True,
    help="Port to listen at; 0 takes a free one and logs it.",
)
@click.option(
    "--openapi", "only_document", is_flag=True, help="Print the OpenAPI document and exit."
)
def api(**asked: Any) -> None:
    """Run the HTTP API: submit images, read their results.

    It speaks plain HTTP; put a proxy with TLS in front of it for callers on other machines.
    SIGTERM and Ctrl-C stop it once the requests under way are answered.
    """
    from fakesweep.actions.api import api as run

    run(**asked)
