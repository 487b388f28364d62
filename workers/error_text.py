"""Words for what went wrong, short enough for a row and a log line."""

from fakesweep.schema.net.storage import one_line as _one_line

MAX_CHARACTERS = 200


def one_line(error: BaseException) -> str:
    """Return an exception's message, or its class where it has none, as one short, printable line.

    Decoders quote what they read, and strangers wrote that.
    """
    return _one_line(" ".join(str(error).split()) or type(error).__name__, MAX_CHARACTERS)
