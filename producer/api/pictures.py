"""Pictures submitted as bytes: hashed and stored as a stream, never decoded."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import anyio
from anyio.to_thread import run_sync

from fakesweep.producer.api.forms import Form, FormError
from fakesweep.producer.outputs.bucket import Bucket
from fakesweep.producer.outputs.destinations import Destination, open_place, resolve_destination
from fakesweep.producer.outputs.draft import Draft, OutputPlace
from fakesweep.producer.outputs.folder import DRAFTS, Folder
from fakesweep.schema.errors import OutputError, SettingsError
from fakesweep.schema.net.egress import admits_bucket
from fakesweep.schema.settings import Settings
from fakesweep.schema.uris import from_path, from_s3, scheme_of, to_s3

SETTING = "FAKESWEEP_API_PICTURES"
THREADS = 8
PIECE_BYTES = 256 * 1024
ORPHAN_SECONDS = 3_600.0
"""Age at which a draft is an orphan of a killed process."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Stored picture, with the lane of its form."""

    uri: str
    lane: str | None


class Pictures:
    """Store of pictures by SHA-256; equal bytes are stored once."""

    def __init__(self, place: OutputPlace) -> None:
        self._place = place
        self._threads = anyio.CapacityLimiter(THREADS)

    async def keep(self, form: Form, pieces: AsyncIterator[bytes]) -> Picture:
        """Store the picture of a form, whole or not at all.

        Raises:
            FormError: the form is malformed, or has no single picture.
            OutputError: the picture cannot be stored.
            Problem: reading the body fails.
        """
        with self._place.draft(uuid4().hex) as draft:
            form.picture = draft.add
            buffered = bytearray()
            async for piece in pieces:
                buffered += piece
                if len(buffered) >= PIECE_BYTES:
                    await self._in_thread(form, bytes(buffered))
                    buffered.clear()
            await self._in_thread(form, bytes(buffered))
            form.finish()
            if not draft.size_bytes:
                raise FormError("picture", "the picture is empty")
            name = _name_of(draft)
            await run_sync(self._place.keep, draft, name, limiter=self._threads)
        return Picture(self._uri_of(name), form.lane)

    async def _in_thread(self, form: Form, data: bytes) -> None:
        await run_sync(form.feed, data, limiter=self._threads)

    def _uri_of(self, name: str) -> str:
        match self._place:
            case Folder(path=path):
                return from_path(path / name)
            case Bucket(address=address):
                return from_s3(address.bucket, address.key + name)
            case _:
                raise TypeError(self._place)


@contextmanager
def open_pictures(settings: Settings) -> Iterator[Pictures | None]:
    """Open the configured store, None without one.

    Raises:
        SettingsError: the store is not writable, or workers may not read it.
    """
    if settings.api_pictures is None:
        yield None
        return
    try:
        destination = resolve_destination(settings.api_pictures)
        _check_gates(destination, settings)
        with open_place(destination, settings) as place:
            if isinstance(place, Folder):
                Path(destination.place).mkdir(parents=True, exist_ok=True)
                _remove_orphans(Path(destination.place))
            place.check_written()
            yield Pictures(place)
    except (OutputError, OSError) as error:
        raise SettingsError(f"{SETTING} cannot be used: {error}") from error


def _check_gates(destination: Destination, settings: Settings) -> None:
    """Refuse a place that workers with the same settings may not read."""
    if scheme_of(destination.place) == "s3":
        bucket = to_s3(destination.place).bucket
        if not admits_bucket(bucket, settings):
            raise SettingsError(
                f"{SETTING} cannot be used: FAKESWEEP_BUCKETS does not name bucket {bucket!r}"
            )
        return
    roots = [Path(os.path.realpath(root)) for root in settings.file_roots]
    if not any(Path(destination.place).is_relative_to(root) for root in roots):
        raise SettingsError(
            f"{SETTING} cannot be used: {destination.place} is below no folder of "
            f"FAKESWEEP_FILE_ROOTS, and workers read no other"
        )


def _remove_orphans(folder: Path) -> None:
    with suppress(OSError):
        for orphan in (folder / DRAFTS).iterdir():
            if time.time() - orphan.stat().st_mtime > ORPHAN_SECONDS:
                orphan.unlink(missing_ok=True)


def _name_of(draft: Draft) -> str:
    digest = draft.sha256.hex()
    return f"{digest[:2]}/{digest}"
