"""`fakesweep completion`: shell completion of commands, scans, models and other names."""

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from fakesweep.option_types import SHELLS
from fakesweep.output import write_json
from fakesweep.schema.errors import FakesweepError

VARIABLE = "_FAKESWEEP_COMPLETE"


def show(shell: str | None) -> None:
    """Print the completion script of a shell."""
    click.echo(_script(shell or _own_shell()))


def install(shell: str | None, *, in_json: bool) -> None:
    """Install completion for a shell; safe to repeat."""
    chosen = shell or _own_shell()
    try:
        script = _put(chosen, _script(chosen))
    except OSError as error:
        raise FakesweepError(
            f"the script cannot be written ({error}); print it with `fakesweep completion show`"
        ) from error
    if in_json:
        write_json({"shell": chosen, "script": str(script)})
        return
    click.echo(f"new {chosen} shells complete fakesweep, by {script}")


def _own_shell() -> str:
    """Return the name of the person's shell.

    Raises:
        UsageError: $SHELL names none of `SHELLS`.
    """
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"name the shell: one of {', '.join(SHELLS)}")
    return name


def _script(shell: str) -> str:
    from fakesweep.cli import cli  # noqa: PLC0415 - it loads this module

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click has all three
        raise FakesweepError(f"click has no completion for {shell}")
    made = kind(cli, {}, "fakesweep", VARIABLE)
    return made.source_template % made.source_vars()


def _put(shell: str, script: str) -> Path:
    """Write the script where the shell finds it; return its path."""
    if shell == "fish":
        folder = _folder("XDG_CONFIG_HOME", ".config") / "fish" / "completions"
    else:
        folder = _folder("XDG_DATA_HOME", ".local/share") / "fakesweep"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"fakesweep.{shell}" if shell == "fish" else f"completion.{shell}")
    path.write_text(f"{script}\n", "utf-8")
    if shell != "fish":
        home = Path(os.environ.get("ZDOTDIR", "") if shell == "zsh" else "") or Path()
        _add_line(Path.home() / home / f".{shell}rc", _reading(shell, path))
    return path


def _reading(shell: str, script: Path) -> str:
    quoted = shlex.quote(str(script))
    before = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; "
    return f"{before if shell == 'zsh' else ''}[ -f {quoted} ] && . {quoted}"


def _add_line(file: Path, line: str) -> None:
    """Append a line to a shell's start-up file, unless it is there."""
    before = file.read_text("utf-8", "surrogateescape") if file.exists() else ""
    if line in before.splitlines():
        return
    gap = "" if not before or before.endswith("\n") else "\n"
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{gap}{line}\n")


def _folder(variable: str, otherwise: str) -> Path:
    said = Path(os.environ.get(variable, ""))
    return said if said.is_absolute() else Path.home() / otherwise
