"""`fakesweep rejudge`: new verdicts from stored scores."""

import click

from fakesweep.ledger_access import reading
from fakesweep.output import write_json
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.registry.policies import rejudge as judge_again
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import read_settings


def rejudge(scan: str, policy: str, *, in_json: bool) -> None:
    """Judge a scan's stored scores by another policy."""
    settings = read_settings()
    own = read_catalogue(settings.catalogue).policies.get(policy)
    with reading(settings) as connection:
        scan_id = find_scan(connection, scan)
        policy_id(connection, policy, own)
        changed = judge_again(connection, scan_id, policy)
        connection.commit()
    if in_json:
        write_json({"scan_id": scan_id, "policy": policy, "verdicts_changed": changed})
        return
    click.echo(f"scan {scan_id} is judged by policy {policy}: {changed} verdicts changed")
