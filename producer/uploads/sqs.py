"""SQS queue: its name, receiving and deleting messages, and the meaning of its errors."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3.session
import structlog
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, caught beside its siblings
    CredentialRetrievalError,
    HTTPClientError,
    NoRegionError,
)
from botocore.parsers import ResponseParserError

from fakesweep.producer.sources.errors import reason_of
from fakesweep.producer.sources.names import shown
from fakesweep.schema.errors import SourceError
from fakesweep.schema.net.storage import HOW_TO_GIVE_CREDENTIALS, USER_AGENT, one_line
from fakesweep.schema.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SCHEME = "sqs://"
WAIT_SECONDS = 3
"""Long-poll time of a receive call; the listener's shutdown may take as long."""

GATHER_SECONDS = 1.0
"""Time limit for collecting messages that are recorded together."""

MESSAGES_AT_ONCE = 10
CONNECT_TIMEOUT_SECONDS = 5
ANSWER_TIMEOUT_SECONDS = WAIT_SECONDS + 10

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_AMAZON = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429
_PASSING = re.compile(r"Throttl|OverLimit|Expired|SlowDown|Internal|Unavailable|Timeout")
_MISSING = re.compile(r"NonExistentQueue|QueueDoesNotExist")

log = structlog.get_logger(__name__)


class Queue(NamedTuple):
    """SQS queue: by name in the environment's account and region, or by URL."""

    name: str
    url: str | None = None
    region: str | None = None


class Message(NamedTuple):
    """Received message; `receipt` is its handle for deletion."""

    receipt: str
    body: str


class SqsAway(Exception):  # noqa: N818 - says what happened
    """SQS does not answer, or throttles; a retry may succeed."""


def read_queue(text: str, settings: Settings) -> Queue:
    """Parse `sqs://NAME`, or a queue's URL with `sqs://` in place of `https://`.

    Raises:
        SourceError: the text is neither.
    """
    rest = text.removeprefix(SCHEME)
    host, _, path = rest.partition("/")
    name = rest.rpartition("/")[2]
    if not text.startswith(SCHEME) or not _NAME.fullmatch(name) or (path and not host):
        raise SourceError(
            f"{shown(text)!r} names no queue; write sqs://NAME, or sqs:// and the queue's URL "
            f"without its https://"
        )
    if not path:
        return Queue(name)
    endpoint = urlsplit(settings.sqs_endpoint_url or "")
    scheme = endpoint.scheme if endpoint.netloc == host else "https"
    amazon = _AMAZON.fullmatch(host)
    return Queue(name, f"{scheme}://{rest}", amazon and amazon.group(1))


def open_client(queue: Queue, settings: Settings) -> "SQSClient":
    """Return a client without retries of its own; the listener retries with backoff.

    Raises:
        SourceError: the environment names no region.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=ANSWER_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        user_agent_extra=USER_AGENT,
    )
    options: dict[str, Any] = {
        "endpoint_url": settings.sqs_endpoint_url,
        "region_name": queue.region,
    }
    with _explained(queue):
        return boto3.session.Session().client("sqs", config=config, **options)


def found(client: "SQSClient", queue: Queue) -> Queue:
    """Return the queue with its URL.

    Raises:
        SqsAway: SQS does not answer.
        SourceError: the queue does not exist, or may not be looked up.
    """
    if queue.url is not None:
        return queue
    with _explained(queue):
        return queue._replace(url=client.get_queue_url(QueueName=queue.name)["QueueUrl"])


def received(client: "SQSClient", queue: Queue, at_most: int) -> list[Message]:
    """Return about `at_most` messages, after a long poll for the first.

    Raises:
        SqsAway: SQS does not answer.
        SourceError: the queue does not exist, or may not be read.
    """
    with _explained(queue):
        messages = more = _asked(client, queue, WAIT_SECONDS)
        until = time.monotonic() + GATHER_SECONDS
        while len(more) == MESSAGES_AT_ONCE and len(messages) < at_most:
            if time.monotonic() > until:
                break
            more = _asked(client, queue, 0)
            messages = messages + more
    return messages


def delete(client: "SQSClient", queue: Queue, messages: Sequence[Message]) -> None:
    """Delete messages; failures are logged, and those messages come again.

    Raises:
        SqsAway: SQS does not answer.
        SourceError: deleting is not allowed.
    """
    for first in range(0, len(messages), MESSAGES_AT_ONCE):
        with _explained(queue):
            answer = client.delete_message_batch(
                QueueUrl=queue.url or "",
                Entries=[  # a message can be in the list twice, so its own id is no Id
                    {"Id": str(number), "ReceiptHandle": message.receipt}
                    for number, message in enumerate(messages[first : first + MESSAGES_AT_ONCE])
                ],
            )
        failed = answer.get("Failed", [])
        if failed:
            reason = one_line(failed[0].get("Message") or failed[0].get("Code", ""))
            log.info("events_not_deleted", queue=queue.name, events=len(failed), reason=reason)


def _asked(client: "SQSClient", queue: Queue, wait_seconds: int) -> list[Message]:
    answer = client.receive_message(
        QueueUrl=queue.url or "",
        MaxNumberOfMessages=MESSAGES_AT_ONCE,
        WaitTimeSeconds=wait_seconds,
    )
    return [
        Message(message["ReceiptHandle"], message.get("Body", ""))
        for message in answer.get("Messages", [])
    ]


@contextmanager
def _explained(queue: Queue) -> Iterator[None]:
    """Convert botocore's errors into temporary and permanent ones.

    Raises:
        SqsAway: the error may pass.
        SourceError: the error is permanent.
    """
    try:
        yield
    except (ConnectionError, HTTPClientError) as error:
        raise SqsAway(reason_of(error.kwargs.get("error") or error)) from error
    except (CredentialRetrievalError, ResponseParserError) as error:
        raise SqsAway(one_line(str(error))) from error
    except NoRegionError as error:
        raise SourceError(
            f"queue {queue.name!r} cannot be looked for without a region; set AWS_DEFAULT_REGION"
        ) from error
    except ClientError as error:
        raise _refused(error, queue) from error
    except (BotoCoreError, ValueError) as error:
        raise SourceError(
            f"queue {queue.name!r} cannot be read: {one_line(str(error))}; check its name, "
            f"FAKESWEEP_SQS_ENDPOINT_URL and the credentials ({HOW_TO_GIVE_CREDENTIALS})"
        ) from error


def _refused(error: ClientError, queue: Queue) -> Exception:
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    said = one_line(error.response["Error"].get("Message") or code)
    if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS or _PASSING.search(code):
        return SqsAway(f"{code}: {said}")
    if _MISSING.search(code):
        return SourceError(
            f"queue {queue.name!r} does not exist; check its name, account and region, and "
            f"FAKESWEEP_SQS_ENDPOINT_URL"
        )
    return SourceError(
        f"queue {queue.name!r} may not be read: {said}; the credentials need sqs:GetQueueUrl, "
        f"sqs:ReceiveMessage and sqs:DeleteMessage on it"
    )
