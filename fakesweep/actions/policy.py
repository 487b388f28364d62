"""`fakesweep policy`: the cut points that turn scores into verdicts."""

from collections.abc import Iterable
from dataclasses import asdict

import click

from fakesweep.ledger_access import connected, made_ledger_url, reading
from fakesweep.output import write_json, write_table
from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.registry.policies import (
    PolicyReport,
    list_policies,
    policy_history,
    policy_id,
)
from fakesweep.schema.settings import read_settings
from fakesweep.summary import cuts_in_words, moment
from fakesweep.text import printable, program

COLUMNS = ("policy", "real below", "fake above", "scans", "since")


def list_all(*, in_json: bool) -> None:
    """List every policy with its current cut points."""
    with reading(read_settings()) as connection:
        found = list_policies(connection)
    if in_json:
        write_json({"policies": [asdict(one) for one in found]})
        return
    _write(found)


def show(name: str, *, in_json: bool) -> None:
    """Show one policy: its cut points, and its earlier ones."""
    with reading(read_settings()) as connection:
        found = policy_history(connection, name)
    if in_json:
        write_json({"policy": name, "history": [asdict(one) for one in found]})
        return
    newest = found[0]
    click.echo(cuts_in_words(Policy(newest.name, newest.real_below, newest.fake_above)) + "\n")
    _write(found)


def set_cuts(name: str, *, real_below: float, fake_above: float, in_json: bool) -> None:
    """Set a policy's cut points; scores between them are uncertain."""
    try:
        wanted = Policy(name, real_below, fake_above)
    except CatalogueError as error:
        raise click.UsageError(str(error)) from error
    with connected(made_ledger_url(read_settings()), "command") as connection:
        policy_id(connection, name, wanted)
        connection.commit()
        newest = policy_history(connection, name)[0]
    if in_json:
        write_json(asdict(newest))
        return
    click.echo(cuts_in_words(wanted))
    click.echo(f"judge a scan by it: {program()} rejudge SCAN --policy {printable(name)}")


def _write(found: Iterable[PolicyReport]) -> None:
    rows = (
        (one.name, f"{one.real_below:g}", f"{one.fake_above:g}", one.scans, moment(one.created_at))
        for one in found
    )
    write_table(COLUMNS, rows)
