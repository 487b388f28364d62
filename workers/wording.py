"""Words for what went wrong, short enough for a row and a log line."""

MAX_CHARACTERS = 200


def one_line(error: BaseException) -> str:
    """Return an exception's message, or its class where it has none, as one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:MAX_CHARACTERS]
