"""PostgreSQL and the broker over TLS and with passwords, by users who have a role's rights only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import counts, refusal
from tests.support.photographs import folder_of_photographs
from tests.support.secured import Secured, secured_cluster, workers_at_work


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_cluster(tmp_path_factory.mktemp("authorities")) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(folder_of_photographs(tmp_path / "in", 6))


def test_a_scan_goes_through_tls_and_passwords_by_users_of_least_rights(
    secured: Secured, folder: str, tmp_path: Path
) -> None:
    with workers_at_work([secured.command("worker1", FILE_ROOTS=folder)], tmp_path) as [log]:
        said = secured.command("producer1").scan(folder)
    assert counts(said) == {"classified": 6}
    seen = secured.command("analyst1").ask("SELECT count(*) AS images FROM verdicts")
    assert seen == [{"images": 6}]
    assert "permission denied" not in log.read_text()


def test_a_certificate_of_an_unknown_authority_is_refused(secured: Secured, folder: str) -> None:
    command, ca = secured.command("producer1"), secured.stranger.file
    broker = command.where(BROKER_URL=secured.broker_url(ca=ca))
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(broker("scan", folder))
    database = command.where(DATABASE_URL=secured.database_url("producer1", ca=ca))
    assert "certificate verify failed" in refusal(database("scan", folder))


def test_a_broker_whose_url_says_nothing_of_certificates_must_show_one_the_system_trusts(
    secured: Secured, folder: str
) -> None:
    command = secured.command("producer1", BROKER_URL=secured.bare_broker_url())
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(command("scan", folder))


def test_a_wrong_password_is_one_line_that_does_not_show_it(secured: Secured, folder: str) -> None:
    command = secured.command("producer1")
    said = refusal(command.where(BROKER_URL=secured.broker_url("swordfish"))("scan", folder))
    assert "broker at rediss://localhost:" in said
    assert "swordfish" not in said
    url = secured.database_url("producer1", "swordfish")
    said = refusal(command.where(DATABASE_URL=url)("scan", folder))
    assert "password authentication failed" in said
    assert "swordfish" not in said
