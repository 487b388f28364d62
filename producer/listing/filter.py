"""Filter of listed images by a scan's selection."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import unquote, unquote_to_bytes

from fakesweep.schema.ages import moment_of, recorded_moment
from fakesweep.schema.errors import SourceError
from fakesweep.schema.ledger.scans.listing_counts import EXCLUDE, INCLUDE, LEFT_OUT, ListingCounts
from fakesweep.schema.ledger.scans.scans import Entry, LeftOut, ListedImage
from fakesweep.schema.selection import Selection, check_pattern, patterns_of
from fakesweep.schema.text import is_text
from fakesweep.schema.uris import from_s3, path_of, to_s3
from fakesweep.schema.words import LeftOutReason


def check_selection(selection: Selection) -> None:
    """Refuse an invalid or contradictory selection.

    Raises:
        SourceError: the selection is refused; the message names the option.
    """
    if selection.since is not None:
        moment_of(selection.since, datetime.now(UTC))
    low, high = selection.min_bytes, selection.max_bytes
    if low is not None and high is not None and low > high:
        raise SourceError(f"no image has at least {low} and at most {high} bytes")
    for pattern in (*selection.include, *selection.exclude):
        check_pattern(pattern)


def names_of(uri: str) -> list[str]:
    """Return the spellings of an image's URI that patterns are matched with, in Unicode NFC.

    A file has its path and its URI, and its undecodable bytes as surrogates; an S3 object has its
    URI with and without the version; an http(s) address is given both encoded and decoded.
    """
    names = [uri]
    if (path := path_of(uri)) is not None:
        names += [path, f"file://{path}"]
        if not is_text(by_bytes := os.fsdecode(unquote_to_bytes(uri[len("file://") :]))):
            names.append(by_bytes)
    elif uri.startswith("s3://"):
        if ";versionId=" in uri:
            address = to_s3(uri)
            names.append(from_s3(address.bucket, address.key))
    elif "%" in uri:
        names.append(unquote(uri))
    return names if uri.isascii() and "%" not in uri else [_composed(name) for name in names]


class ImageFilter:
    """Filters images by a selection; counts excluded entries and matches of each pattern."""

    def __init__(self, selection: Selection, asked_at: datetime) -> None:
        self._include = _Patterns(INCLUDE, selection.include)
        self._exclude = _Patterns(EXCLUDE, selection.exclude)
        self._since = recorded_moment(selection.since, asked_at) if selection.since else None
        self._low, self._high = selection.min_bytes, selection.max_bytes
        self._is_selective = selection != Selection(
            versions=selection.versions, suffixes=selection.suffixes
        )

    def taken(self, entries: Sequence[Entry]) -> tuple[list[ListedImage], Counter[ListingCounts]]:
        """Return the selected images, and counts of excluded entries and matched patterns.

        Unreadable entries are always selected: each is recorded as a failure.
        """
        images: list[ListedImage] = []
        counts: Counter[ListingCounts] = Counter()
        for entry in entries:
            if isinstance(entry, LeftOut):
                reason: LeftOutReason | None = entry.reason
            else:
                reason = self._refusal(entry, counts) if self._is_selective else None
            if reason is not None:
                counts[ListingCounts(LEFT_OUT, reason.value)] += 1
            elif isinstance(entry, ListedImage):
                images.append(entry)
        return images, counts

    def _refusal(self, image: ListedImage, counts: Counter[ListingCounts]) -> LeftOutReason | None:
        if image.unreadable is not None:
            return None
        if self._include or self._exclude:
            names = names_of(image.uri)
            if self._include and not self._include.match(names, counts):
                return LeftOutReason.NOT_INCLUDED
            if self._exclude.match(names, counts):
                return LeftOutReason.EXCLUDED
        return self._refusal_by_facts(image)

    def _refusal_by_facts(self, image: ListedImage) -> LeftOutReason | None:
        if self._since and image.modified_at is not None and image.modified_at < self._since:
            return LeftOutReason.TOO_OLD
        size = image.size_bytes
        if size is None:
            return None
        if self._low is not None and size < self._low:
            return LeftOutReason.TOO_SMALL
        if self._high is not None and size > self._high:
            return LeftOutReason.TOO_LARGE
        return None


class _Patterns:
    """Patterns of one option: a combined pattern first, each single one after a match."""

    def __init__(self, option: str, patterns: tuple[str, ...]) -> None:
        composed = tuple(map(_composed, patterns))
        self._together = patterns_of(composed)
        self._each = [
            (ListingCounts(option, str(place)), patterns_of((one,)))
            for place, one in enumerate(composed, start=1)
        ]

    def __bool__(self) -> bool:
        return self._together is not None

    def match(self, names: Sequence[str], counts: Counter[ListingCounts]) -> bool:
        """Return whether a pattern matches one of the names; count each pattern that does."""
        if self._together is None or not any(map(self._together.match, names)):
            return False
        for counted, pattern in self._each:
            if len(self._each) == 1 or (pattern and any(map(pattern.match, names))):
                counts[counted] += 1
        return True


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
