import pytest

from fakesweep.schema.errors import DatabaseError
from fakesweep.schema.ledger.connection import display_url, explained, open_engine


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@db:5432/sweep", "postgresql://me:***@db:5432/sweep"),
        ("postgres://me:hunter2@db/sweep", "postgresql://me:***@db/sweep"),
        ("postgresql+psycopg2://me@db/sweep", "postgresql://me@db/sweep"),
        (
            "postgresql:///sweep?host=/run&password=hunter2&sslpassword=hunter2",
            "postgresql:///sweep?host=%2Frun&password=%2A%2A%2A&sslpassword=%2A%2A%2A",
        ),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert display_url(url) == shown


@pytest.mark.parametrize(
    "url", ["", "sweep", "localhost:5432", "mysql://db/sweep", "postgresql://db:port/sweep"]
)
def test_an_invalid_database_url_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(DatabaseError, match="postgresql://user:password@host:5432/name"):
        open_engine(url, "tests")


def test_a_server_that_does_not_answer_is_one_line_without_the_password() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/sweep"
    engine = open_engine(url, "tests")
    with pytest.raises(DatabaseError) as refusal, explained(url):
        engine.connect()
    message = str(refusal.value)
    assert message.startswith("PostgreSQL at postgresql://me:***@127.0.0.1:1/sweep does not answer")
    assert "Connection refused" in message
    assert "check FAKESWEEP_DATABASE_URL" in message
    assert "hunter2" not in message
    assert "\n" not in message
