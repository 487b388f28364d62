"""`fakesweep health`: liveness of this machine's workers or producers, by their heartbeats."""

import time

import click

from fakesweep.exits import Exit
from fakesweep.output import write_json
from fakesweep.schema.telemetry.heartbeat import activity, complaint, read_heartbeats
from fakesweep.schema.words import Role


def health(*, role: str, in_json: bool) -> int:
    """Check whether a worker or producer here makes progress."""
    try:
        heartbeats = read_heartbeats(Role(role))
    except OSError as error:
        click.echo(f"the health of a {role} cannot be read: {error}", err=True)
        return Exit.FAILED
    now = time.monotonic()
    complaints = [f"{role} {one.pid} {why}" for one in heartbeats if (why := complaint(one, now))]
    if not heartbeats:
        complaints = [f"no {role} runs here"]
    if in_json:
        said = [
            {"pid": one.pid, "complaint": why, "activity": None if why else activity(one, now)}
            for one in heartbeats
            for why in [complaint(one, now)]
        ]
        write_json({"role": role, "is_healthy": not complaints, "processes": said})
        return Exit.FAILED if complaints else Exit.DONE
    if complaints:
        click.echo("; ".join(complaints), err=True)
        return Exit.FAILED
    click.echo("; ".join(f"{role} {one.pid} is {activity(one, now)}" for one in heartbeats))
    return Exit.DONE
