"""What is text, and so can be stored and sent: a path may hold bytes that are none."""


def is_text(said: str) -> bool:
    """Return whether it can be written in UTF-8."""
    return said.isascii() or not any("\ud800" <= character <= "\udfff" for character in said)
