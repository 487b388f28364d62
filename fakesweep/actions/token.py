"""`fakesweep token`: the HTTP API's tokens."""

from dataclasses import asdict
from datetime import UTC, datetime

import click

from fakesweep.ledger_access import connected, made_ledger_url, reading
from fakesweep.output import write_json, write_table
from fakesweep.schema.ages import Age
from fakesweep.schema.ledger.api_tokens import add_token, list_tokens, revoke_token
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import Scope
from fakesweep.summary import moment
from fakesweep.text import printable, program

COLUMNS = ("name", "state", "scopes", "rate", "made", "expires", "last used")


def add(
    *, name: str, scopes: tuple[str, ...], rate: int, lifetime: Age | None, in_json: bool
) -> None:
    """Create a token and print it; it cannot be shown again."""
    chosen = tuple(map(Scope, scopes)) or tuple(Scope)
    settings = read_settings()
    address = made_ledger_url(settings)
    with connected(address, "command") as connection:
        now = datetime.now(UTC)
        length = None if lifetime is None else lifetime.after(now) - now
        made = add_token(connection, name, chosen, rate, length)
        connection.commit()
        report = list_tokens(connection)[-1]
    if in_json:
        write_json({"token": made, **asdict(report)})
        return
    click.echo(made)
    until = f"until {moment(report.expires_at)}" if report.expires_at else "for ever"
    click.echo(
        f"{printable(name)} may {' and '.join(report.scopes)}, {rate} images a minute, {until}; "
        f"keep the token, it is not shown again",
        err=True,
    )


def list_all(*, in_json: bool) -> None:
    """List all tokens by name, without the tokens themselves."""
    with reading(read_settings()) as connection:
        reports = list_tokens(connection)
    if in_json:
        write_json({"tokens": [asdict(report) for report in reports]})
        return
    write_table(
        COLUMNS,
        (
            (one.name, one.state, " ".join(one.scopes), one.rate_per_minute,
             *(time and moment(time)
               for time in (one.created_at, one.expires_at, one.last_used_at)))
            for one in reports
        ),
    )  # fmt: skip


def revoke(*, name: str, in_json: bool) -> None:
    """Revoke a token, from the next request on."""
    with reading(read_settings()) as connection:
        revoke_token(connection, name)
        connection.commit()
    if in_json:
        write_json({"name": name, "state": "revoked"})
        return
    click.echo(f"{printable(name)} is revoked; `{program()} token add` makes another")
