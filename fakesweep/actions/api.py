"""`fakesweep api`: the HTTP API for submitting images and reading their results."""

import json

import click

from fakesweep.extras import require_api_extra
from fakesweep.foreground.signals import told_to_stop
from fakesweep.producer.resources import open_producer
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import read_settings
from fakesweep.schema.telemetry.logs import set_up_logging
from fakesweep.stack.keeping import kept_stack


def api(*, host: str, port: int, only_document: bool) -> None:
    """Run the HTTP API: submit images, read their results."""
    require_api_extra()
    if only_document:
        from fakesweep.producer.api.app import make_app  # noqa: PLC0415 - needs the api extra

        click.echo(json.dumps(make_app().openapi(), indent=2))
        return
    from fakesweep.producer.api.server import serve_api  # noqa: PLC0415 - needs the api extra

    settings = read_settings()
    set_up_logging(settings)
    catalogue = read_catalogue(settings.catalogue)
    with (
        kept_stack(settings, "api") as settings,
        open_producer(settings, catalogue) as producer,
        told_to_stop(),
    ):
        serve_api(producer, host, port)
