"""The batch message: plain JSON, readable in Redis and sendable by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakesweep.schema.words import Lane

MESSAGE_VERSION = 1


class UnreadableMessage(Exception):  # noqa: N818 - says what the message is
    """A message that this version cannot read, with the reason."""


@dataclass(frozen=True, slots=True)
class BatchImage:
    """One image of a batch: its row in the ledger and its normalised URI."""

    image_id: int
    uri: str


@dataclass(frozen=True, slots=True)
class BatchMessage:
    """The images of one message; the ledger decides on the worker and the models.

    `attempt` is the batch's attempt at its publishing; a message of an earlier attempt is skipped,
    as the batch may hold other images now. It is None in a message sent by hand.
    """

    batch_id: int
    scan_id: int
    lane: Lane
    images: tuple[BatchImage, ...]
    attempt: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the message as plain JSON values."""
        return {
            "version": MESSAGE_VERSION,
            "batch_id": self.batch_id,
            "scan_id": self.scan_id,
            "lane": self.lane.value,
            "images": [[image.image_id, image.uri] for image in self.images],
            "attempt": self.attempt,
        }


def read_message(body: object) -> BatchMessage:
    """Parse a message from plain JSON values.

    Raises:
        UnreadableMessage: it is invalid, or of another version.
    """
    if not isinstance(body, Mapping):
        raise UnreadableMessage("the message is no JSON object")
    if body.get("version") != MESSAGE_VERSION:
        raise UnreadableMessage(
            f"the message is of version {body.get('version')!r}, "
            f"this worker reads version {MESSAGE_VERSION}"
        )
    try:
        return BatchMessage(
            batch_id=_row(body["batch_id"]),
            scan_id=_row(body["scan_id"]),
            lane=Lane(body["lane"]),
            images=tuple(BatchImage(_row(number), _uri(uri)) for number, uri in body["images"]),
            attempt=_attempt(body.get("attempt")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(f"the message cannot be read: {error!r}") from error


def _row(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise ValueError(f"{value!r} is no row of the ledger")
    return value


def _attempt(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{value!r} is no number of attempts")


def _uri(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no URI")
    return value
