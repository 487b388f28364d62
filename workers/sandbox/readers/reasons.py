"""Reasons of decoding failures, in words about the picture instead of the decoder."""

import re
import struct
import zlib

from fakesweep.workers.error_text import one_line

_OF_PYTHON = (
    TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, RecursionError,
    NotImplementedError, BufferError, UnicodeError, struct.error,
)  # fmt: skip
"""Errors of a decoder's own code on bad bytes; their messages do not describe the picture."""

_SENTENCES = {
    "it ends before its pixels do": (
        r"truncated|too early|end of (?:file|data)|not enough|too (?:short|small)|ran out|EOF"
        r"|no more data|cannot load this image|Insufficient|Expected to read"
    ),
    "its compressed pixels are damaged": (
        r"decoder error|broken data stream|unrecognized data stream|broken PNG|buffer overrun"
        r"|Conversion from YUV|plugin generated an error|bad (?:image data|huffman)"
    ),
    "it refers to places that are not in it": r"seek",
}
_NOT_BUILT_IN = r"not been built in|Unsupported feature|Unsupported codec"
_ENDS_EARLY = (EOFError,)


def reason(error: BaseException) -> str:
    """Return a one-line reason for a decoder's exception."""
    if isinstance(error, _ENDS_EARLY):
        return "it ends before its pixels do"
    if isinstance(error, zlib.error):
        return "its compressed pixels are damaged"
    if isinstance(error, _OF_PYTHON) or not str(error).strip():
        return "what it says of itself does not fit together"
    said = one_line(error)
    for sentence, pattern in _SENTENCES.items():
        if re.search(pattern, said, re.IGNORECASE):
            return sentence
    return said


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory, or a decoder's own size limit, was exceeded."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "security limit" in said


def is_not_built_in(error: BaseException) -> bool:
    """Return whether a decoder recognised an unsupported kind."""
    return re.search(_NOT_BUILT_IN, str(error)) is not None
