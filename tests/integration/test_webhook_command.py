"""`fakesweep webhook`: its output, and its rows in the ledger."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from standardwebhooks import Webhook

from fakesweep.cli import run
from fakesweep.exits import Exit
from tests.support.webhook_receiver import SECRET

Webhooks = Callable[..., str]


@pytest.fixture
def command(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Webhooks:
    """Run `fakesweep webhook …`; return its output on both streams."""
    monkeypatch.setenv("FAKESWEEP_DATABASE_URL", database_url)

    def call(*words: str, status: Exit = Exit.DONE) -> str:
        assert run(["webhook", *words]) == status
        return "".join(capsys.readouterr())

    return call


def _let_three_die(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO ledger.webhook_deliveries
                    (webhook_id, image_id, model_id, scan_id, content_id, policy_id, p_fake,
                     verdict, attempts, dead_at, last_status, last_error)
                SELECT webhook_id, n, 1, 1, n, 1, 0.9, 'fake', 9, now(), 500,
                       '500 Internal Server Error'
                FROM ledger.webhooks, generate_series(1, 3) AS n
            """)
        )


def test_a_secret_is_printed_once_and_no_query_ever(command: Webhooks) -> None:
    said = command("add", "moderation", "https://hooks.example.org/told?key=hush")
    secret, told, hint = said.splitlines()
    Webhook(secret)  # the receivers' library accepts it
    assert told == (
        "webhook moderation sends fake and uncertain to https://hooks.example.org/told?…; "
        "keep the secret, it is not shown again"
    )
    assert hint == "try it: fakesweep webhook test moderation"
    page, listing = command("list"), command("list", "--json")
    assert secret not in told + hint + page + listing
    assert "hush" not in said + page + listing
    [listed] = json.loads(listing)["webhooks"]
    assert (listed["name"], listed["state"], listed["waiting"]) == ("moderation", "active", 0)
    assert (listed["verdicts"], listed["models"]) == (["fake", "uncertain"], [])


def test_a_secret_of_ones_own_is_not_printed(command: Webhooks, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    said = json.loads(
        command(
            "add", "own", "http://example.org", "--secret-file", str(file), "--verdict", "fake",
            "--lane", "live", "--model", "vit-tiny-cifake", "--json",
        )
    )  # fmt: skip
    assert "secret" not in said
    assert (said["verdicts"], said["lanes"], said["models"]) == (
        ["fake"], ["live"], ["vit-tiny-cifake"],
    )  # fmt: skip
    made = json.loads(command("add", "made", "http://example.org", "--json"))
    assert made["secret"].startswith("whsec_")


def test_a_webhook_is_paused_resumed_and_removed(command: Webhooks) -> None:
    command("add", "moderation", "http://example.org")
    assert "webhook moderation is paused" in command("pause", "moderation")
    assert "was already paused" in command("pause", "moderation")
    assert " paused " in command("list").splitlines()[1]
    assert "webhook moderation goes on" in command("resume", "moderation")
    assert "was not paused" in command("resume", "moderation")
    assert "moderation is removed" in command("remove", "moderation")
    for action in ("pause", "resume", "remove", "retry"):
        said = command(action, "moderation", status=Exit.FAILED)
        assert said.startswith("fakesweep: there is no webhook 'moderation'; `fakesweep webhook")


def test_dead_deliveries_are_listed_and_retried(command: Webhooks, engine: Engine) -> None:
    command("add", "moderation", "http://example.org")
    _let_three_die(engine)
    page = command("dead", "--limit", "2").splitlines()
    assert [line.split()[0] for line in page[1:3]] == ["3", "2"]
    assert "500 Internal Server Error" in page[1]
    assert page[3:] == [
        "1 older ones are not shown", "try again: fakesweep webhook retry NAME|DELIVERY"
    ]  # fmt: skip
    listed = json.loads(command("dead", "--name", "moderation", "--json"))
    assert (listed["count"], len(listed["deliveries"])) == (3, 3)
    assert "there is no webhook 'gone'" in command("dead", "--name", "gone", status=Exit.FAILED)
    assert command("retry", "2") == "delivery 2 is due again\n"
    said = command("retry", "2", status=Exit.FAILED)
    assert "delivery 2 is not dead but waiting" in said
    assert command("retry", "moderation") == "2 deliveries are due again\n"
    assert json.loads(command("dead", "--json")) == {"count": 0, "deliveries": []}
