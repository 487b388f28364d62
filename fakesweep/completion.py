"""Shell completion: file names, and names from the catalogue and the ledger.

It starts no server and waits for none: without a running ledger it offers the catalogue alone.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

Completions = list[CompletionItem[Any]]
Completer = Callable[[click.Context, click.Parameter, str], Completions]


def files(_context: click.Context, _parameter: click.Parameter, begun: str) -> Completions:
    """Leave file names to the shell."""
    return [CompletionItem(begun, type="file")]


def _offered(known: Callable[[], Iterable[tuple[str, str]]]) -> Completer:
    """Return a completer that offers the names that begin as typed, each with its description."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> Completions:
        try:
            return [
                CompletionItem(name, help=about if about.isprintable() else None)
                for name, about in dict(known()).items()
                if name.startswith(begun) and shlex.quote(name) == name
            ]
        except Exception:  # noqa: BLE001 - a shell that completes shows no errors
            return []

    return complete


def _from_ledger(read: Callable[[Any], Iterable[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Yield names from the ledger, none if it does not run."""
    from fakesweep.schema.ledger.connection import open_engine  # noqa: PLC0415
    from fakesweep.schema.settings import read_settings  # noqa: PLC0415
    from fakesweep.stack import find_database  # noqa: PLC0415 - help does without

    address = find_database(read_settings())
    if address is None:
        return
    engine = open_engine(address, "command", pool_size=1)
    try:
        with engine.connect() as connection:
            yield from read(connection)
    finally:
        engine.dispose()


def _scans() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.ledger.reports.progress import recent_scans  # noqa: PLC0415
    from fakesweep.schema.ledger.scans.names import LAST  # noqa: PLC0415

    def named(ledger: Any) -> Iterator[tuple[str, str]]:
        for position, scan in enumerate(recent_scans(ledger)):
            if not position:
                yield LAST, "the newest scan"
            about = f"{scan.state}, {scan.submitted} images"
            if scan.name:
                yield scan.name, f"scan {scan.scan_id}, {about}"
            yield str(scan.scan_id), about

    return _from_ledger(named)


def _models() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.judging.catalogue import read_catalogue  # noqa: PLC0415
    from fakesweep.schema.settings import read_settings  # noqa: PLC0415

    for entry in read_catalogue(read_settings().catalogue).models.values():
        yield entry.key, entry.about


def _policies() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.judging.catalogue import read_catalogue  # noqa: PLC0415
    from fakesweep.schema.ledger.registry.policies import list_policies  # noqa: PLC0415
    from fakesweep.schema.settings import read_settings  # noqa: PLC0415

    for policy in read_catalogue(read_settings().catalogue).policies.values():
        yield policy.name, f"fake above {policy.fake_above:g}"
    yield from _from_ledger(
        lambda ledger: (
            (one.name, f"fake above {one.fake_above:g}") for one in list_policies(ledger)
        )
    )


def _schedules() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.ledger.schedules.reports import schedule_reports  # noqa: PLC0415

    return _from_ledger(lambda ledger: ((one.name, one.cron) for one in schedule_reports(ledger)))


def _webhooks() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.ledger.webhooks.webhooks import list_webhooks  # noqa: PLC0415

    return _from_ledger(
        lambda ledger: ((one.name, one.url.partition("?")[0]) for one in list_webhooks(ledger))
    )


def _tokens() -> Iterator[tuple[str, str]]:
    from fakesweep.schema.ledger.api_tokens import list_tokens  # noqa: PLC0415

    return _from_ledger(lambda ledger: ((one.name, str(one.state)) for one in list_tokens(ledger)))


scans = _offered(_scans)
models = _offered(_models)
policies = _offered(_policies)
schedules = _offered(_schedules)
webhooks = _offered(_webhooks)
tokens = _offered(_tokens)
