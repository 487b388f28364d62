"""Text: valid Unicode, which paths may not be."""


def is_text(said: str) -> bool:
    """Return whether a text can be encoded in UTF-8."""
    return said.isascii() or not any("\ud800" <= character <= "\udfff" for character in said)
