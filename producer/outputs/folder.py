"""Folder output: each file is written as a draft, synced to disk and renamed."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from fakesweep.producer.outputs.draft import Draft
from fakesweep.schema.errors import OutputError
from fakesweep.schema.net.storage import one_line

DRAFTS = ".writing"
"""Subfolder of drafts, removed once the output is complete."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Local folder as an output."""

    path: Path

    def check_new(self) -> None:
        """Create a missing folder; refuse one that is not empty.

        Raises:
            OutputError: the path is no empty folder, or cannot be created or written.
        """
        with _explained(self.path):
            if not self.path.exists():
                self.path.mkdir(parents=True, exist_ok=True)
            with os.scandir(self.path) as entries:
                found = next(entries, None)
            if found is not None:
                raise OutputError(
                    f"folder {_shown(self.path)} is not empty (it holds {one_line(found.name)!r}); "
                    f"an output needs a folder of its own"
                )
            self.check_written()
            self.tidy()

    def check_written(self) -> None:
        """Refuse a folder that is not writable.

        Raises:
            OutputError: the folder is missing, full or not writable.
        """
        with _explained(self.path), self.draft("check") as draft:
            draft.add(b"\n")
            _flush(draft)

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """Open a draft in the subfolder of drafts; orphans of the same name are deleted.

        Raises:
            OutputError: the disk is full, or the folder is gone or not writable.
        """
        drafts = self.path / DRAFTS
        with _explained(self.path):
            if not self.path.is_dir():
                raise FileNotFoundError(2, os.strerror(2))  # its disk may be unmounted
            drafts.mkdir(exist_ok=True)
            _check_no_link(drafts)
            for orphan in drafts.glob(f"{Path(name).name}.*"):
                orphan.unlink(missing_ok=True)
            path = drafts / f"{Path(name).name}.{uuid4().hex}"
            try:
                with path.open("xb") as file:
                    yield Draft(file)
            finally:
                with suppress(OSError):
                    path.unlink()

    def keep(self, draft: Draft, name: str) -> None:
        """Sync the draft to disk and rename it.

        Raises:
            OutputError: the disk is full, or the folder is not writable.
        """
        kept = self.path / name
        with _explained(self.path):
            _flush(draft)
            if not kept.parent.is_dir():
                kept.parent.mkdir(exist_ok=True)
                _flush_folder(self.path)
            if kept.parent != self.path:
                _check_no_link(kept.parent)
            Path(draft.file.name).replace(kept)
            _flush_folder(kept.parent)

    def tidy(self) -> None:
        """Remove the subfolder of drafts, with its orphans."""
        with suppress(OSError):
            _check_no_link(self.path / DRAFTS)
            for orphan in (self.path / DRAFTS).iterdir():
                orphan.unlink(missing_ok=True)
            (self.path / DRAFTS).rmdir()


def _check_no_link(made: Path) -> None:
    """Refuse a symbolic link in place of an output's subfolder: drafts are deleted there."""
    if made.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, f"{made.name} is a link")


def _flush(draft: Draft) -> None:
    draft.file.flush()
    os.fsync(draft.file.fileno())


def _flush_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"folder {_shown(path)} on {socket.gethostname()} cannot be written: "
            f"{error.strerror or error}"
        ) from error


def _shown(path: Path) -> str:
    return one_line(str(path))
