"""Redaction: removes secrets of URLs from any text, in linear time."""

import re

_USER_OF_URL = re.compile(r"(?<=://)[^\s/?#'\"\\]+@")
_WORD = re.compile(r"[^\s'\"\\]+")
_ADDRESS = re.compile(r"https?://.", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"[\w.~%-]++=")
_SIGNS = ("@", "\N{FULLWIDTH COMMERCIAL AT}", "\N{SMALL COMMERCIAL AT}")


def without_secrets(text: str, instead: str = "***") -> str:
    """Return text without the users, passwords and queries of its URLs.

    A query reaches to the end of its word, behind a URL or a bare path.
    """
    hidden = _USER_OF_URL.sub(f"{instead}@", text) if "://" in text else text
    if "?" not in hidden:
        return hidden
    return _WORD.sub(lambda word: _without_query(word[0], instead), hidden)


def without_credentials(text: str, instead: str = "…") -> str:
    """Return a line that should be one URL, without any possible password.

    It cuts from the first `://` to the last `@`, as passwords may hold slashes, spaces and question
    marks.
    """
    start = text.find("://")
    end = max(text.rfind(sign) for sign in _SIGNS)
    if start < 0 or end < start + 3:
        return text
    return f"{text[:start]}://{instead}@{text[end + 1 :]}"


def _without_query(word: str, instead: str) -> str:
    begin, mark = 0, word.find("?")
    while 0 <= mark < len(word) - 1:
        if _ADDRESS.search(word, begin, mark) or (
            mark > begin and _PARAMETER.match(word, mark + 1)
        ):
            return f"{word[: mark + 1]}{instead}"
        begin, mark = mark + 1, word.find("?", mark + 1)
    return word
