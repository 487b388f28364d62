"""The command `fakesweep`: its commands, each imported when it runs, and its error lines.

Nothing heavy is imported here: `fakesweep --help` loads click alone.
"""

import importlib
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from fakesweep.examples import section
from fakesweep.exits import Exit
from fakesweep.schema import __version__
from fakesweep.schema.errors import FakesweepError, StreamError
from fakesweep.schema.text import is_text
from fakesweep.streams import drop_output, open_streams
from fakesweep.text import printable

COMMANDS: dict[str, tuple[str, str]] = {
    "scan": ("fakesweep.commands.scan:scan", "Scan images for AI-generated and deepfake ones."),
    "check": (
        "fakesweep.commands.check:check",
        "Judge single pictures now, without storing anything.",
    ),
    "resume": (
        "fakesweep.commands.resume:resume",
        "Resume a scan that was interrupted or paused.",
    ),
    "pause": ("fakesweep.commands.pause:pause", "Hold a scan until it is resumed."),
    "cancel": ("fakesweep.commands.cancel:cancel", "Stop a scan for good."),
    "retry": ("fakesweep.commands.retry:retry", "Judge the failed images of a scan again."),
    "status": (
        "fakesweep.commands.status:status",
        "Show the progress of a scan, or of all recent scans.",
    ),
    "results": (
        "fakesweep.commands.results:results",
        "Show the verdict or failure of each image of a scan.",
    ),
    "changes": (
        "fakesweep.commands.changes:changes",
        "Show what changed since the audit before.",
    ),
    "rejudge": (
        "fakesweep.commands.rejudge:rejudge",
        "Judge a scan's stored scores by another policy.",
    ),
    "policy": (
        "fakesweep.commands.policy:policy",
        "Show or set policies: cut points that turn scores into verdicts.",
    ),
    "sql": ("fakesweep.commands.sql:sql", "Run a read-only SQL query."),
    "models": ("fakesweep.commands.models:models", "List, show or download models."),
    "schedule": (
        "fakesweep.commands.schedule:schedule",
        "Schedule recurring audits.",
    ),
    "webhook": (
        "fakesweep.commands.webhook:webhook",
        "Send verdicts and events to applications by HTTP.",
    ),
    "token": ("fakesweep.commands.token:token", "Create, list or revoke the HTTP API's tokens."),
    "prune": ("fakesweep.commands.prune:prune", "Delete old scans."),
    "worker": (
        "fakesweep.commands.worker:worker",
        "Run a worker: it judges the images of batches.",
    ),
    "producer": (
        "fakesweep.commands.producer:producer",
        "Run a producer: it lists sources and queues batches.",
    ),
    "api": ("fakesweep.commands.api:api", "Run the HTTP API: submit images, read their results."),
    "health": (
        "fakesweep.commands.health:health",
        "Check whether a worker or producer here makes progress.",
    ),
    "backup": (
        "fakesweep.commands.backup:backup",
        "Back up the local stack's database into a file.",
    ),
    "restore": (
        "fakesweep.commands.backup:restore",
        "Replace the local stack's database by a backup.",
    ),
    "celery": ("fakesweep.commands.celery:celery", "Run Celery's own command on our queues."),
    "db": (
        "fakesweep.commands.db:db",
        "Migrate the database, create its logins, or show its URL.",
    ),
    "completion": (
        "fakesweep.commands.completion:completion",
        "Set up shell completion.",
    ),
    "manual": ("fakesweep.commands.manual:manual", "Print the manual page for man."),
    "up": ("fakesweep.commands.local:up", "Start the local stack."),
    "down": ("fakesweep.commands.local:down", "Stop the local stack."),
}
"""Each command's import path, and the first sentence of its help."""


@dataclass
class Invocation:
    """Options of the command as a whole."""

    debug: bool = False


class LazyGroup(click.Group):
    """A group that imports a command only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        _add_examples(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def _add_examples(command: click.Command, path: str) -> None:
    command.epilog = section(path)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            _add_examples(below, f"{path} {name}")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fakesweep", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_obj
def cli(invocation: Invocation, debug: bool) -> None:
    """Sweep very large image collections for AI-generated and deepfake pictures."""
    invocation.debug = debug


cli.help = f"{cli.help}\n\n{section('')}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; every error is one line on standard error."""
    open_streams()
    status = run(sys.argv[1:] if arguments is None else arguments)
    if status != Exit.DONE and threading.active_count() > 1:
        _abandon_threads(status)
    return status


def run(arguments: Sequence[str]) -> int:
    """Run one command, show its error, and return its exit status."""
    invocation = Invocation()
    try:
        status: Any = cli.main(list(arguments), "fakesweep", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return Exit.BROKEN_PIPE
    except SystemExit as left:  # click's own, after it has answered a completion
        return Exit.DONE if not left.code else Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last place that turns an error into one line
        if isinstance(error, StreamError):
            drop_output()
        return _show_error(error, invocation, arguments)
    return status if isinstance(status, int) else Exit.DONE


def _show_error(error: Exception, invocation: Invocation, arguments: Sequence[str]) -> int:
    undecodable = next((one for one in arguments if not is_text(one)), None)
    if invocation.debug:
        from fakesweep.schema.telemetry.logs import cleared  # noqa: PLC0415

        click.echo(cleared("".join(traceback.format_exception(error))), nl=False, err=True)
    elif isinstance(error, FakesweepError):
        _say(str(error))
    elif isinstance(error, UnicodeEncodeError) and undecodable is not None:
        _say(f"{undecodable!r} is no text in UTF-8; only paths may hold other bytes")
        return Exit.USAGE
    else:
        _say(f"unexpected {type(error).__name__}: {error}; run again with `fakesweep --debug …`")
    return Exit.FAILED


def _say(message: str) -> None:
    from fakesweep.schema.telemetry.logs import cleared  # noqa: PLC0415 - structlog is loaded for this alone

    click.echo(f"fakesweep: {printable(cleared(' '.join(message.split())))}", err=True)


def _abandon_threads(status: int) -> NoReturn:
    """Exit while a thread still blocks, such as one that reads standard input."""
    sys.stderr.flush()
    os._exit(status)
