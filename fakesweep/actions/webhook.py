"""`fakesweep webhook`: receivers of verdicts and events, a test of them, and dead deliveries."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TextIO
from uuid import uuid4

import click
from sqlalchemy import Connection

from fakesweep.exits import Exit
from fakesweep.ledger_access import connected, made_ledger_url, reading
from fakesweep.logging_setup import log_troubles
from fakesweep.output import write_json, write_table
from fakesweep.producer.webhooks.payload import example_body
from fakesweep.producer.webhooks.request import ReceiverAnswer, check_url, open_receivers, send
from fakesweep.producer.webhooks.retry_schedule import RETRY_SCHEDULE
from fakesweep.producer.webhooks.signing import check_secret, new_secret
from fakesweep.schema.errors import WebhookError
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.webhooks.webhooks import (
    Webhook,
    WebhookReport,
    add_webhook,
    dead_deliveries,
    find_webhook,
    list_webhooks,
    pause_webhook,
    remove_webhook,
    resume_webhook,
    retry_dead,
    retry_delivery,
)
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import Event, Lane, VerdictWord
from fakesweep.summary import moment
from fakesweep.text import printable, program, shortened

DEFAULT_VERDICTS = (VerdictWord.FAKE, VerdictWord.UNCERTAIN)

URI_WIDTH = 60

COLUMNS = ("name", "state", "verdicts", "events", "models", "lanes", "waiting", "dead",
           "delivered last", "address")  # fmt: skip

DEAD_COLUMNS = ("delivery", "webhook", "type", "verdict", "attempts", "why", "died", "image")


def add(
    *,
    name: str,
    url: str,
    words: tuple[str, ...],
    events: tuple[str, ...],
    models: tuple[str, ...],
    lanes: tuple[str, ...],
    secret_file: TextIO | None,
    in_json: bool,
) -> None:
    """Send verdicts and events to a URL, each in a signed POST."""
    address = check_url(url)
    secret = check_secret(secret_file.read()) if secret_file else new_secret()
    chosen_events = tuple(dict.fromkeys(map(Event, events)))
    chosen = tuple(dict.fromkeys(map(VerdictWord, words)))
    if not (chosen or chosen_events):
        chosen = DEFAULT_VERDICTS
    settings = read_settings()
    catalogue = read_catalogue(settings.catalogue)
    keys = tuple(dict.fromkeys(catalogue.model(reference).key for reference in models))
    database_url = made_ledger_url(settings)
    with connected(database_url, "command") as connection:
        add_webhook(
            connection,
            name=name,
            url=address,
            secret=secret,
            verdicts=chosen,
            events=chosen_events,
            models=keys,
            lanes=tuple(dict.fromkeys(map(Lane, lanes))),
        )
        connection.commit()
        [report] = [one for one in list_webhooks(connection) if one.name == name]
    if in_json:
        write_json(_as_json(report) | ({} if secret_file else {"secret": secret}))
        return
    if not secret_file:
        click.echo(secret)
    told = f"webhook {name} sends {' and '.join([*chosen, *chosen_events])} to {_address(report)}"
    kept = "" if secret_file else "; keep the secret, it is not shown again"
    click.echo(f"{told}{kept}", err=True)
    click.echo(f"try it: {program()} webhook test {name}", err=True)


def list_all(*, in_json: bool) -> None:
    """List every webhook, and its waiting and dead deliveries."""
    with reading(read_settings()) as connection:
        reports = list_webhooks(connection)
    if in_json:
        write_json({"webhooks": [_as_json(report) for report in reports]})
        return
    write_table(
        COLUMNS,
        (
            (one.name, _state(one), " ".join(one.verdicts), " ".join(one.events),
             " ".join(one.models) or "all", " ".join(one.lanes) or "all", one.waiting, one.dead,
             one.last_delivered_at and moment(one.last_delivered_at), _address(one))
            for one in reports
        ),
    )  # fmt: skip
    for one in reports:
        if one.paused_because:
            click.echo(
                f"{one.name} is paused: {one.paused_because}; go on with it: "
                f"{program()} webhook resume {one.name}"
            )


def pause(*, name: str, in_json: bool) -> None:
    """Pause a webhook; its deliveries wait until it is resumed."""
    with reading(read_settings()) as connection:
        is_new = pause_webhook(connection, name)
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(f"webhook {name} {'is' if is_new else 'was already'} paused")
    click.echo(f"go on with it: {program()} webhook resume {name}")


def resume(*, name: str, in_json: bool) -> None:
    """Resume a webhook; waiting deliveries are due at once."""
    with reading(read_settings()) as connection:
        is_new = resume_webhook(connection, name)
        connection.commit()
        if in_json:
            _write_report(connection, name)
            return
    click.echo(f"webhook {name} {'goes on' if is_new else 'was not paused'}")


def remove(*, name: str, in_json: bool) -> None:
    """Remove a webhook, its secret and its waiting deliveries."""
    with reading(read_settings()) as connection:
        remove_webhook(connection, name)
        connection.commit()
    if in_json:
        write_json({"name": name, "state": "removed"})
        return
    click.echo(f"webhook {name} is removed")


def test(*, name: str, in_json: bool) -> Exit:
    """Send a signed example now, and show the answer."""
    settings = read_settings()
    log_troubles(settings)
    with reading(settings) as connection:
        found = find_webhook(connection, name)
    answer, seconds = _try(found, settings)
    if in_json:
        write_json(
            {
                "webhook": name,
                "is_delivered": answer.is_delivered,
                "status": answer.status,
                "answer": answer.reason,
                "seconds": round(seconds, 3),
            }
        )
        return Exit.DONE if answer.is_delivered else Exit.FAILED
    if not answer.is_delivered:
        raise WebhookError(f"webhook {name} did not take the example: {answer.reason}")
    click.echo(f"webhook {name} took the example: {answer.reason}, after {seconds:.2f} s")
    return Exit.DONE


def dead(*, name: str | None, limit: int, in_json: bool) -> None:
    """List dead deliveries, newest first."""
    with reading(read_settings()) as connection:
        found, count = dead_deliveries(connection, name, limit)
    if in_json:
        write_json({"count": count, "deliveries": [asdict(one) for one in found]})
        return
    write_table(
        DEAD_COLUMNS,
        (
            (one.delivery_id, one.webhook, one.type, one.verdict, one.attempts, one.last_error,
             moment(one.dead_at), one.uri and shortened(one.uri, URI_WIDTH))
            for one in found
        ),
    )  # fmt: skip
    if count > len(found):
        click.echo(f"{count - len(found)} older ones are not shown")
    if found:
        click.echo(f"try again: {program()} webhook retry NAME|DELIVERY")


def retry(*, which: str, in_json: bool) -> None:
    """Retry dead deliveries: all of a webhook, or one."""
    with reading(read_settings()) as connection:
        if which.isdecimal():
            retry_delivery(connection, int(which))
            count = 1
            said = f"delivery {which} is due again"
        else:
            count = retry_dead(connection, which)
            said = f"{count} deliveries are due again"
        connection.commit()
    if in_json:
        write_json({"due_again": count})
        return
    click.echo(said)


def _try(found: Webhook, settings: Settings) -> tuple[ReceiverAnswer, float]:
    """Send an example; return the receiver's answer and the seconds it took."""
    body = example_body(found, datetime.now(UTC))
    with open_receivers(settings, RETRY_SCHEDULE.timeout_seconds, at_once=1) as pool:
        begun = time.monotonic()
        answer = send(pool, found.url, found.secret, f"msg_{uuid4().hex}", body)
        return answer, time.monotonic() - begun


def _write_report(connection: Connection, name: str) -> None:
    [report] = [one for one in list_webhooks(connection) if one.name == name]
    write_json(_as_json(report))


def _state(report: WebhookReport) -> str:
    return "paused" if report.paused_at else "active"


def _as_json(report: WebhookReport) -> dict[str, object]:
    return asdict(report) | {"state": _state(report), "url": _address(report)}


def _address(report: WebhookReport) -> str:
    """Return the webhook's URL without its query, which may hold a secret."""
    address, query, _ = report.url.partition("?")
    return printable(address) + ("?…" if query else "")
