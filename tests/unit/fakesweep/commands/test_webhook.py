"""Invalid webhooks: refused before any connection, in one line without secrets."""

from pathlib import Path

import pytest

from fakesweep.cli import run
from fakesweep.exits import Exit


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://example.org", "--model", "nonsense"], "model 'nonsense' is not known"),
        (["http://example.org", "--secret-file", "SECRET"], "the secret must be whsec_"),
    ],
)
def test_an_invalid_webhook_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    given = [str(secret) if word == "SECRET" else word for word in words]
    assert run(["webhook", "add", "moderation", *given]) == Exit.FAILED
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://example.org", "a webhook is told over https:// or http://"),
        ("http://me:hush@example.org", "credentials"),
    ],
)
def test_an_invalid_url_is_wrong_usage(
    address: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhook", "add", "moderation", address]) == Exit.USAGE
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line
    assert "hush" not in line


@pytest.mark.parametrize("option", [["--verdict", "maybe"], ["--lane", "quarantine"]])
def test_words_outside_the_closed_sets_are_wrong_usage(option: list[str]) -> None:
    assert run(["webhook", "add", "moderation", "http://example.org", *option]) == Exit.USAGE
