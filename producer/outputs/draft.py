"""Drafts: files of an output that get their names once they are whole."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol


@dataclass(slots=True)
class Draft:
    """Draft of a file, with its line count, size and digest."""

    file: IO[bytes]
    lines: int = 0
    size_bytes: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Append bytes that end with a line feed.

        Raises:
            OSError: the disk is full or fails.
        """
        self.file.write(line)
        self._sha256.update(line)
        self.lines += 1
        self.size_bytes += len(line)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the bytes so far."""
        digest: bytes = self._sha256.digest()
        return digest


class OutputPlace(Protocol):
    """Place of an output's files: a folder, or a prefix of a bucket."""

    def check_new(self) -> None:
        """Refuse a place that is not empty or not writable.

        Raises:
            OutputError: the place is refused; the message says what to do.
        """

    def check_written(self) -> None:
        """Refuse a place that is not writable.

        Raises:
            OutputError: the place is refused; the message says what to do.
        """

    def draft(self, name: str) -> AbstractContextManager[Draft]:
        """Open a draft; it is deleted on exit unless it was kept.

        Raises:
            OutputError: the draft cannot be written.
        """

    def keep(self, draft: Draft, name: str) -> None:
        """Store the draft durably under its name; an existing file is replaced.

        Raises:
            OutputError: the file cannot be written.
        """

    def tidy(self) -> None:
        """Remove drafts, once the output is complete."""
