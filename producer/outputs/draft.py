"""A file of an output while it is being written: it gets its name only when it is whole."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol


@dataclass(slots=True)
class Draft:
    """Lines on their way to a file, counted and digested as they come."""

    file: IO[bytes]
    lines: int = 0
    size_bytes: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Write one line, which ends as lines do.

        Raises:
            OSError: the disk takes no more.
        """
        self.file.write(line)
        self._sha256.update(line)
        self.lines += 1
        self.size_bytes += len(line)

    @property
    def sha256(self) -> bytes:
        """The digest of all that was written."""
        digest: bytes = self._sha256.digest()
        return digest


class OutputPlace(Protocol):
    """Where the files of an output are kept: a folder, or what is under a prefix of a bucket."""

    def check_new(self) -> None:
        """Refuse a place that is not empty or cannot be written.

        Raises:
            OutputError: the message says what is wrong and what to do.
        """

    def check_written(self) -> None:
        """Refuse a place that cannot be written.

        Raises:
            OutputError: the message says what is wrong and what to do.
        """

    def draft(self, name: str) -> AbstractContextManager[Draft]:
        """Open a draft of a file; at the end of the context it is gone, if it was not kept.

        Raises:
            OutputError: it cannot be written.
        """

    def keep(self, draft: Draft, name: str) -> None:
        """Let the draft be the file of that name, whole and for good, in place of any before.

        Raises:
            OutputError: it cannot be written.
        """

    def tidy(self) -> None:
        """Leave nothing but the files that were kept, now that the output is complete."""
