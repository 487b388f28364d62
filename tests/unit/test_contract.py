"""The contract is whole: what stands in docs/contract is what the code says, for every command."""

import json
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from fakesweep.cli import cli
from fakesweep.contract.commands import COMMANDS
from fakesweep.contract.documents import documents
from fakesweep.producer.webhooks.payload import example_body
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from fakesweep.schema.ledger.webhooks.webhooks import Webhook
from fakesweep.schema.message import BatchImage, BatchMessage, read_message
from fakesweep.schema.words import Lane
from tests.support.contract import FOLDER, by_contract, validator
from tests.unit.test_documents import commands_below

OPEN = {"manifest-line"}
SERVE = {("worker",), ("producer",), ("api",), ("celery",)}
FREE = {("sql",), ("db", "url"), ("manual",), ("completion", "install"), ("completion", "show")}
"""What these write is what they are asked for: columns of a query, an address, a page, a script."""


def _command(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for word in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, path
        command = found
    return command


def _records(schema: Any) -> list[dict[str, Any]]:
    """Return every part of a schema that describes an object."""
    match schema:
        case dict():
            own = [schema] if schema.get("type") == "object" else []
            return own + [one for part in schema.values() for one in _records(part)]
        case list():
            return [one for part in schema for one in _records(part)]
        case _:
            return []


def test_the_documents_are_what_the_code_says() -> None:
    """`python -m fakesweep.contract` writes them."""
    assert {path.name.removesuffix(".schema.json") for path in FOLDER.iterdir()} == set(documents())
    for name, one in documents().items():
        assert json.loads((FOLDER / f"{name}.schema.json").read_text("utf-8")) == one, name


@pytest.mark.parametrize("name", documents())
def test_every_document_is_a_schema_that_refuses_what_it_does_not_name(name: str) -> None:
    validator(name).check_schema(documents()[name])
    for one in _records(documents()[name]):
        assert name in OPEN or "additionalProperties" in one, one
        assert set(one.get("required", ())) <= set(one.get("properties", ()))


@pytest.mark.parametrize("path", commands_below(cli), ids=" ".join)
def test_every_command_writes_json_by_a_document_or_is_named_as_one_that_does_not(
    path: tuple[str, ...],
) -> None:
    options = {option for one in _command(path).params for option in one.opts}
    writes = bool({"--json", "--format"} & options)
    assert (path in COMMANDS) == (writes and path not in FREE)
    assert writes or path in SERVE | FREE


def test_results_are_told_by_their_columns() -> None:
    assert tuple(COMMANDS["results",]["properties"]) == RESULT_COLUMNS


def test_a_message_is_by_its_document() -> None:
    message = BatchMessage(1, 2, Lane.LIVE, (BatchImage(3, "s3://b/k"),), attempt=0)
    assert read_message(by_contract("message", message.to_json())) == message
    assert not validator("message").is_valid(message.to_json() | {"more": 1})


def test_an_example_of_a_webhook_is_by_its_document() -> None:
    webhook = Webhook(
        webhook_id=1, name="w", url="https://example.org/", secret="whsec_", is_paused=False
    )
    body = json.loads(example_body(webhook, datetime.now(UTC)))
    by_contract("webhook", body)
    assert not validator("webhook").is_valid(body | {"more": 1})
