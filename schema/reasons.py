"""Reasons of failures: one line for people, short enough for the ledger."""

LONGEST_REASON_BYTES = 2_000
"""Most bytes of a reason, in UTF-8; the ledger refuses four times as many."""

_CUT = "…"


def storable(text: str) -> str:
    """Return the text in a form that PostgreSQL stores: valid Unicode without NUL."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def reason(text: str) -> str:
    """Return a storable reason, cut between two characters where it is too long."""
    said = storable(text[:LONGEST_REASON_BYTES])
    encoded = said.encode()
    if len(text) <= LONGEST_REASON_BYTES and len(encoded) <= LONGEST_REASON_BYTES:
        return said
    room = LONGEST_REASON_BYTES - len(_CUT.encode())
    return encoded[:room].decode("utf-8", "ignore") + _CUT
