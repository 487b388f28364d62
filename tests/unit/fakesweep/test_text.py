import pytest

from fakesweep.text import printable, seconds_in_words, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 写真", "plain ünïcode 写真"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_that_steers_a_terminal_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_uri_keeps_its_end() -> None:
    assert shortened("file:///photos/holiday/cat.jpg", 12) == "…iday/cat.jpg"[:1] + "day/cat.jpg"
    assert len(shortened("x" * 100, 12)) == 12


def test_a_short_uri_stays_whole() -> None:
    assert shortened("s3://b/a.jpg", 12) == "s3://b/a.jpg"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (9_000, "2.5 h")]
)
def test_lengths_of_time_read_well(seconds: float, said: str) -> None:
    assert seconds_in_words(seconds) == said
