"""`fakesweep webhook`: who is told of verdicts, whether it works, and what could not be told."""

from typing import Any

import click

from fakesweep import completion
from fakesweep.exits import Exit
from fakesweep.option_types import Written
from fakesweep.output import json_option
from fakesweep.schema.words import SCAN_LANES, Event, VerdictWord

in_json_option = click.option(
    "--json", "in_json", is_flag=True, help="Print one JSON object instead of a page."
)


def _check_url(text: str) -> None:
    from fakesweep.producer.webhooks.request import check_url

    check_url(text)


@click.group()
def webhook() -> None:
    """Have applications told of verdicts."""


@webhook.command()
@click.argument("name")
@click.argument("url", metavar="URL", type=Written("url", _check_url))
@click.option(
    "--verdict",
    "words",
    type=click.Choice([word.value for word in VerdictWord]),
    multiple=True,
    help="Verdict to tell of; fake and uncertain where none is named. Repeat it for several.",
)
@click.option(
    "--event",
    "events",
    type=click.Choice([event.value for event in Event]),
    multiple=True,
    help="Event to tell of, and of no verdict but those you name. Repeat it for several.",
)
@click.option(
    "--model",
    "models",
    metavar="KEY",
    multiple=True,
    shell_complete=completion.models,
    help="Only verdicts of this model. Repeat it for several.",
)
@click.option(
    "--lane",
    "lanes",
    type=click.Choice([lane.value for lane in SCAN_LANES]),
    multiple=True,
    help="Only scans of this lane; both where none is named.",
)
@click.option(
    "--secret-file",
    type=click.File(),
    help="File with a secret of your own, whsec_…; - is standard input. Without it one is made.",
)
@in_json_option
def add(**asked: Any) -> None:
    """Have verdicts and events told to an address, each in a signed POST.

    What is judged from now on is told, or what ends or fails. The secret that signs it is made here
    and printed this once; its receiver needs it.
    """
    from fakesweep.actions.webhook import add as run

    run(**asked)


@webhook.command("list")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_all(**asked: Any) -> None:
    """List every webhook, and what waits to be told."""
    from fakesweep.actions.webhook import list_all as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def pause(**asked: Any) -> None:
    """Send nothing until it is resumed; what it asks for is kept for it."""
    from fakesweep.actions.webhook import pause as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def resume(**asked: Any) -> None:
    """Send again, what waits at once."""
    from fakesweep.actions.webhook import resume as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def remove(**asked: Any) -> None:
    """Tell it nothing more, not what waits either, and forget its secret."""
    from fakesweep.actions.webhook import remove as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@in_json_option
def test(**asked: Any) -> Exit:
    """Send a signed example now, from here, and say what came back.

    Its type is webhook.test, so that no receiver takes it for a verdict.
    """
    from fakesweep.actions.webhook import test as run

    return run(**asked)


@webhook.command()
@click.option(
    "--name", metavar="NAME", shell_complete=completion.webhooks, help="Only those of this webhook."
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many."
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def dead(**asked: Any) -> None:
    """List what could not be told and is given up, newest first."""
    from fakesweep.actions.webhook import dead as run

    run(**asked)


@webhook.command()
@click.argument("which", metavar="NAME|DELIVERY", shell_complete=completion.webhooks)
@json_option
def retry(**asked: Any) -> None:
    """Try again what is dead: all of a webhook, or one delivery."""
    from fakesweep.actions.webhook import retry as run

    run(**asked)
