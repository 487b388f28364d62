"""What URLs hide, left out of text of whatever origin, in time proportional to its length."""

import re

_USER_OF_URL = re.compile(r"(?<=://)[^\s/?#'\"\\]+@")
_WORD = re.compile(r"[^\s'\"\\]+")
_ADDRESS = re.compile(r"https?://.", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"[\w.~%-]++=")
_SIGNS = ("@", "\N{FULLWIDTH COMMERCIAL AT}", "\N{SMALL COMMERCIAL AT}")


def without_secrets(text: str, instead: str = "***") -> str:
    """Return text without the users, passwords and queries of the URLs in it.

    A query goes to the end of its word, behind a URL or behind a path that a library writes without
    its host.
    """
    hidden = _USER_OF_URL.sub(f"{instead}@", text) if "://" in text else text
    if "?" not in hidden:
        return hidden
    return _WORD.sub(lambda word: _without_query(word[0], instead), hidden)


def without_credentials(text: str, instead: str = "…") -> str:
    """Return a line that is meant to be one URL, without all that may be a password.

    That is what stands between its first `://` and its last `@`, for people write passwords with
    slashes, spaces and question marks.
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
