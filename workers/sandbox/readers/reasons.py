"""Says what is wrong with a picture, whatever a decoder said about itself."""

import re
import struct
import zlib

from fakesweep.workers.error_text import one_line

_OF_PYTHON = (
    TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, RecursionError,
    NotImplementedError, BufferError, UnicodeError, struct.error,
)  # fmt: skip
"""Raised where a decoder trips over what it read: their words are about its code."""

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
    """Return one line about a picture, made of what a decoder raised over it."""
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
    """Tell whether memory ran out, or a limit on a picture's size that a decoder has of its own."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "security limit" in said


def is_not_built_in(error: BaseException) -> bool:
    """Tell whether a decoder says that it knows what this is, and cannot do it."""
    return re.search(_NOT_BUILT_IN, str(error)) is not None
