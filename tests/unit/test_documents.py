"""The documents are true: every command and document they name exists, and the other way round."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from fakesweep.cli import cli
from fakesweep.exits import Exit
from fakesweep.workers.threads.fatal import EXIT_STATUS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "infra" / "README.md"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
MAKE_TARGETS = set(re.findall(r"^([\w./-]+):", MAKEFILE, re.MULTILINE))
PATH = re.compile(
    r"(?<![\w/.:…-])((?:benchmarks|docs|fakesweep|infra|producer|schema|serving|tests|workers)/(?!\d)"
    r"[\w./@*-]*[\w/*])(?::(\w+))?"
)
DOTTED = re.compile(r"`((?:fakesweep|tests|benchmarks)(?:\.\w+)+)`|-m ((?:benchmarks|tests)[.\w]*)")


def commands_below(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += commands_below(command, (*path, name))
        else:
            found.append((*path, name))
    return found


def code_lines(document: Path) -> list[str]:
    """Every line that stands in a fenced block of shell commands."""
    blocks = re.findall(r"```(?:console|sh|bash)\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def fakesweep_lines(document: Path) -> list[list[str]]:
    lines = [line.removeprefix("$ ") for line in code_lines(document)]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fakesweep ")]


@pytest.mark.parametrize("path", commands_below(cli), ids=" ".join)
def test_every_command_is_in_the_readme(path: tuple[str, ...]) -> None:
    assert re.search(rf"`fakesweep {' '.join(path)}\b", README), f"fakesweep {' '.join(path)}"


def test_every_exit_status_is_in_the_readme() -> None:
    (said,) = re.findall(r"^Exit status: .*?\n\n", README, re.MULTILINE | re.DOTALL)
    assert set(map(int, re.findall(r"\d+", said))) == {int(status) for status in Exit}
    assert Exit.BROKEN == EXIT_STATUS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_fakesweep_line_of_a_document_is_a_command_with_its_options(document: Path) -> None:
    for words in fakesweep_lines(document):
        command: click.Command = cli
        context = click.Context(cli)
        rest = words
        while isinstance(command, click.Group):
            assert rest, f"`fakesweep {' '.join(words)}` names no command"
            found = command.get_command(context, rest[0])
            assert found is not None, f"`fakesweep {' '.join(words)}` is no command"
            command, rest = found, rest[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known | {"--help"}, f"`fakesweep {' '.join(words)}`"


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_make_line_of_a_document_is_a_target(document: Path) -> None:
    for line in code_lines(document):
        match = re.match(r"^(?:\$ )?make ([\w./-]+)", line)
        assert match is None or match[1] in MAKE_TARGETS, line


def test_every_program_of_contributing_is_installed() -> None:
    lines = code_lines(ROOT / "CONTRIBUTING.md")
    programs = {line.split()[0] for line in lines} - {"make"}
    assert programs
    assert all(
        program.startswith(".venv/bin/")
        and Path(sys.executable).with_name(Path(program).name).exists()
        for program in programs
    )


def test_hooks_before_a_commit_run_what_make_check_runs() -> None:
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (check,) = re.findall(r"^check: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert hooks == [f".venv/bin/{run}" for run in re.findall(r"\t\$\(BIN\)/(.+)", check)]


def test_the_first_screen_of_the_readme_has_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:40])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_file_a_document_names_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        target, _, heading = link.partition("#")
        linked = document.parent / target if target else document
        assert linked.exists(), f"{document.name} links to {link}"
        assert not heading or heading in anchors(linked), f"{document.name} links to {link}"
    for path, name in PATH.findall(text):
        assert list(ROOT.glob(path)), f"{document.name} names {path}"
        if name:
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), f"{path}:{name}"


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_dotted_name_in_a_document_is_there(document: Path) -> None:
    for quoted, run in DOTTED.findall(document.read_text("utf-8")):
        assert is_there(quoted or run), f"{document.name} names {quoted or run}"


def is_there(name: str) -> bool:
    """Say whether a module, or a name in one, exists."""
    module, _, last = name.rpartition(".")
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return False
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    return bool(module) and hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_name_that_a_document_imports_is_there(document: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    for line in lines:
        said = re.match(r"from (fakesweep[.\w]*) import ([\w, ]+)", line)
        for name in re.split(", *", said[2]) if said else ():
            module = importlib.import_module(said[1] if said else "")
            assert hasattr(module, name), f"{document.name}: {line}"


def test_no_installed_distribution_but_ours_owns_our_name() -> None:
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - costly, here alone

    owners = packages_distributions()
    assert set(owners.get("fakesweep", ["fakesweep"])) == {"fakesweep"}


@pytest.mark.parametrize(
    "folder", ["fakesweep", "producer", "schema", "serving", "workers", "tests"]
)
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 400, path
