"""`fakesweep health`: whether the worker or producer of this machine makes progress."""

import time

import click

from fakesweep.exits import Exit
from fakesweep.output import json_option, write_json
from schema.pulse import Role, activity, complaint, read_pulses


@click.command()
@click.argument("role", type=click.Choice([role.value for role in Role]))
@json_option
def health(*, role: str, in_json: bool) -> int:
    """Say whether a worker or producer here makes progress.

    Made for containers: status 0 where every process of that kind does, or waits for a database or
    broker that is away, else 1. It asks neither of these.
    """
    try:
        pulses = read_pulses(Role(role))
    except OSError as error:
        click.echo(f"the health of a {role} cannot be read: {error}", err=True)
        return Exit.FAILED
    now = time.monotonic()
    complaints = [f"{role} {one.pid} {why}" for one in pulses if (why := complaint(one, now))]
    if not pulses:
        complaints = [f"no {role} runs here"]
    if in_json:
        said = [
            {"pid": one.pid, "complaint": why, "activity": None if why else activity(one, now)}
            for one in pulses
            for why in [complaint(one, now)]
        ]
        write_json({"role": role, "is_healthy": not complaints, "processes": said})
        return Exit.FAILED if complaints else Exit.DONE
    if complaints:
        click.echo("; ".join(complaints), err=True)
        return Exit.FAILED
    click.echo("; ".join(f"{role} {one.pid} is {activity(one, now)}" for one in pulses))
    return Exit.DONE
