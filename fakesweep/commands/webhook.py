"""`fakesweep webhook`: receivers of verdicts and events, a test of them, and dead deliveries."""

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
    """Send verdicts and events to applications by HTTP."""


@webhook.command()
@click.argument("name")
@click.argument("url", metavar="URL", type=Written("url", _check_url))
@click.option(
    "--verdict",
    "words",
    type=click.Choice([word.value for word in VerdictWord]),
    multiple=True,
    help="Verdict to send; fake and uncertain by default. Repeat it for several.",
)
@click.option(
    "--event",
    "events",
    type=click.Choice([event.value for event in Event]),
    multiple=True,
    help="Event to send; no verdicts then but those you name. Repeat it for several.",
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
    help="Only scans of this lane; both by default.",
)
@click.option(
    "--secret-file",
    type=click.File(),
    help="File with your own secret, whsec_…; - for standard input. By default one is made.",
)
@in_json_option
def add(**asked: Any) -> None:
    """Send verdicts and events to a URL, each in a signed POST.

    It starts with what happens from now on. The signing secret is printed once; the receiver needs
    it to check signatures.
    """
    from fakesweep.actions.webhook import add as run

    run(**asked)


@webhook.command("list")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def list_all(**asked: Any) -> None:
    """List every webhook, and its waiting and dead deliveries."""
    from fakesweep.actions.webhook import list_all as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def pause(**asked: Any) -> None:
    """Pause a webhook; its deliveries wait until it is resumed."""
    from fakesweep.actions.webhook import pause as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def resume(**asked: Any) -> None:
    """Resume a webhook; waiting deliveries are due at once."""
    from fakesweep.actions.webhook import resume as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@json_option
def remove(**asked: Any) -> None:
    """Remove a webhook, its secret and its waiting deliveries."""
    from fakesweep.actions.webhook import remove as run

    run(**asked)


@webhook.command()
@click.argument("name", shell_complete=completion.webhooks)
@in_json_option
def test(**asked: Any) -> Exit:
    """Send a signed example now, and show the answer.

    It goes out from this machine. Its type is webhook.test, so that no receiver takes it for a
    verdict.
    """
    from fakesweep.actions.webhook import test as run

    return run(**asked)


@webhook.command()
@click.option(
    "--name",
    metavar="NAME",
    shell_complete=completion.webhooks,
    help="Only deliveries of this webhook.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Most deliveries shown."
)
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object instead of a table.")
def dead(**asked: Any) -> None:
    """List dead deliveries, newest first.

    A delivery is dead once its retries are used up.
    """
    from fakesweep.actions.webhook import dead as run

    run(**asked)


@webhook.command()
@click.argument("which", metavar="NAME|DELIVERY", shell_complete=completion.webhooks)
@json_option
def retry(**asked: Any) -> None:
    """Retry dead deliveries: all of a webhook, or one."""
    from fakesweep.actions.webhook import retry as run

    run(**asked)
