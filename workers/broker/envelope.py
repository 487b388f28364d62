"""Message envelope: validates each queue message before Celery sees it.

Celery and its Redis transport crash on unexpected messages or redeliver them for ever. Only an
exact call of our task passes.
"""

import base64
from typing import Annotated, Any, Literal

from kombu.utils.json import loads
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakesweep.schema.message import UnreadableMessage, read_message
from fakesweep.schema.queues import CLASSIFY_BATCH


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Headers(_Part):
    """Headers that Celery acts on; countdown, expiry and time limits are refused."""

    task: Literal["fakesweep.classify_batch"]
    id: Annotated[str, Field(min_length=1)]
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    eta: None = None
    expires: None = None
    compression: None = None
    timelimit: Annotated[list[None], Field(min_length=2, max_length=2)] | None = None
    retries: int = 0
    replaced_task_nesting: int = 0
    ignore_result: bool | None = None
    stamped_headers: Annotated[list[Any], Field(max_length=0)] | None = None
    stamps: Annotated[dict[str, Any], Field(max_length=0)] | None = None


class _DeliveryInfo(_Part):
    exchange: str
    routing_key: str


class _Properties(_Part):
    delivery_tag: Annotated[str, Field(min_length=1)]
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None


class _Envelope(_Part):
    body: Annotated[str, Field(min_length=1)]
    content_type: Annotated[Literal["application/json"], Field(alias="content-type")]
    content_encoding: Annotated[Literal["utf-8"], Field(alias="content-encoding")]
    headers: _Headers
    properties: _Properties


def open_envelope(raw: bytes) -> str:
    """Return the JSON body of a queue message.

    Raises:
        UnreadableMessage: it is no Celery message of our task; the reason is one line.
    """
    try:
        envelope = _Envelope.model_validate(_parsed(raw))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the message"
        raise UnreadableMessage(f"{place} is {first['input']!r:.80}: {first['msg']}") from error
    if envelope.properties.body_encoding is None:
        return envelope.body
    try:
        return base64.b64decode(envelope.body).decode()
    except ValueError as error:
        raise UnreadableMessage(f"its body is no text in base64: {error}") from error


def check_body(body: str) -> None:
    """Refuse a body with arguments other than one batch.

    Raises:
        UnreadableMessage: the reason is one line.
    """
    match _parsed(body):
        case [[asked], {} as options, {} | None as extras] if not (
            options or any((extras or {}).values())
        ):
            read_message(asked)
        case _:
            raise UnreadableMessage(f"{CLASSIFY_BATCH} takes one batch and nothing else")


def _parsed(text: bytes | str) -> Any:
    """Parse with the transport's own parser, whose JSON includes dates and similar types."""
    try:
        return loads(text)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableMessage(f"it is no JSON: {reason:.120}") from error
