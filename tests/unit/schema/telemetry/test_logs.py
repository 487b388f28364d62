import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.logs import cleared, set_up_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("https://cdn.test/a.jpg?X-Amz-Signature=5ee", "https://cdn.test/a.jpg?***"),
        (
            "{'uri': 'http://cdn.test/a?sig=5ee', 'n': 1}",
            "{'uri': 'http://cdn.test/a?***', 'n': 1}",
        ),
        (r'{"uri": "https://cdn.test/a?sig=\"5ee"}', r'{"uri": "https://cdn.test/a?***\"5ee"}'),
        ("redis://:hunter2@h:6379/0 is away", "redis://***@h:6379/0 is away"),
        ("postgresql://me:a%40b@h/x?sslmode=require", "postgresql://***@h/x?***"),
        ("postgresql://me:hunter2@5ee@h/x", "postgresql://***@h/x"),
        ("s3://key:secret@bucket/a", "s3://***@bucket/a"),
        ("file:///photos/me@home?.jpg", "file:///photos/me@home?.jpg"),
        (
            "Max retries exceeded with url: /a.csv?sig=5ee (",
            "Max retries exceeded with url: /a.csv?*** (",
        ),
        ("what? me@home", "what? me@home"),
        ("two\nlines\x1b", "two\nlines\\x1b"),
    ],
)
def test_a_url_is_logged_without_its_users_password_and_query(said: str, left: str) -> None:
    assert cleared(said) == left


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_of_every_logger_are_redacted(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format=form))
    url = "https://me:hunter2@cdn.test/a.jpg?sig=5ee"
    logging.getLogger("library").warning("cannot read %r", {"url": url})
    structlog.get_logger().error("broken", url=url, exc_info=ValueError(url))
    said = capsys.readouterr().err
    assert said.count("https://***@cdn.test/a.jpg?***") == 3
    assert "hunter2" not in said
    assert "5ee" not in said


def test_text_for_people_holds_nothing_that_a_terminal_acts_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging(Settings())
    structlog.get_logger().warning("seen", name="a\x1b[31m\u202eb", words="two\nlines")
    logging.getLogger("library").warning("\x9b31m")
    said = capsys.readouterr().err
    assert r"a\x1b[31m\u202eb" in said
    assert r"\x9b31m" in said
    assert not {"\x1b", "\u202e", "\x9b"} & set(said)


def test_json_holds_the_facts_to_the_letter_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json"))
    structlog.get_logger().warning("seen", name="a\x1b[31mä")
    line = capsys.readouterr().err
    assert line.isascii()
    assert json.loads(line)["name"] == "a\x1b[31mä"
