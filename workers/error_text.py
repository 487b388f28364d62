"""Error texts, short enough for a row and a log line."""

from fakesweep.schema.net.storage import one_line as _one_line

MAX_CHARACTERS = 200


def one_line(error: BaseException) -> str:
    """Return an exception's message, or else its class, as one short printable line.

    The message is untrusted: decoders quote the bytes they read.
    """
    return _one_line(" ".join(str(error).split()) or type(error).__name__, MAX_CHARACTERS)
