"""Why something went wrong, as long as the ledger holds it: a line for people, and no dump."""

LONGEST_REASON_BYTES = 2_000
"""Of UTF-8. The ledger itself refuses four times as much."""

_CUT = "…"


def storable(text: str) -> str:
    """Return the text as PostgreSQL can hold it: without NUL, and all of it Unicode."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def reason(text: str) -> str:
    """Return a reason, storable and cut between two characters where it is too long."""
    said = storable(text[:LONGEST_REASON_BYTES])
    encoded = said.encode()
    if len(text) <= LONGEST_REASON_BYTES and len(encoded) <= LONGEST_REASON_BYTES:
        return said
    room = LONGEST_REASON_BYTES - len(_CUT.encode())
    return encoded[:room].decode("utf-8", "ignore") + _CUT
