"""A real SQS server, moto's, and S3's messages for its queues."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3.session
from moto.server import ThreadedMotoServer

from tests.support.servers import free_port

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "us-east-1"


@dataclass(frozen=True)
class SqsServer:
    """An SQS server that accepts any credentials."""

    endpoint_url: str

    def client(self) -> "SQSClient":
        return boto3.session.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        ).client("sqs", endpoint_url=self.endpoint_url)

    def create(self, name: str, **attributes: str) -> "SqsQueue":
        client = self.client()
        made = client.create_queue(QueueName=name, Attributes=attributes)  # type: ignore[arg-type]
        return SqsQueue(name, made["QueueUrl"], client)


@dataclass(frozen=True)
class SqsQueue:
    """One queue, for its senders."""

    name: str
    url: str
    client: "SQSClient"

    def send(self, *bodies: object) -> None:
        for first in range(0, len(bodies), 10):
            self.client.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(number),
                        "MessageBody": body if isinstance(body, str) else json.dumps(body),
                    }
                    for number, body in enumerate(bodies[first : first + 10])
                ],
            )

    def left(self) -> int:
        """Return the number of undeleted messages, received or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found: Any = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return sum(int(found["Attributes"][name]) for name in names)


@contextmanager
def sqs_server() -> Iterator[SqsServer]:
    """Yield an SQS server for the context."""
    port = free_port()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield SqsServer(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


def record(
    named: str, *, bucket: str = "photos", name: str = "Put", **facts: Any
) -> dict[str, Any]:
    """Return one record of an S3 event, with S3's encoding of the key."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-11-21T14:00:00.000Z",
        "eventName": name if ":" in name else f"ObjectCreated:{name}",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {
                "key": quote_plus(named, safe="/"),
                "size": 1_024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "0055AED6DCD90281E5",
            }
            | facts,
        },
    }


def event(*keys: str, **parts: Any) -> dict[str, Any]:
    """Return S3's message about created objects."""
    return {"Records": [record(key, **parts) for key in keys]}


def by_sns(said: object) -> dict[str, Any]:
    """Return a message in SNS' envelope, without raw delivery."""
    return {
        "Type": "Notification",
        "MessageId": "719a6bbf-f51b-5320-920f-3385b5e9aa56",
        "TopicArn": f"arn:aws:sns:{REGION}:123456789012:uploads",
        "Subject": "Amazon S3 Notification",
        "Message": said if isinstance(said, str) else json.dumps(said),
        "Timestamp": "2026-11-21T14:00:00.000Z",
    }


def by_bridge(key: str, *, bucket: str = "photos", **parts: Any) -> dict[str, Any]:
    """Return an event in EventBridge's form, with unencoded keys."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-11-21T14:00:00Z",
        "region": REGION,
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 1_024,
                "etag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "55aed6dcd90281e5",
            },
            "reason": "PutObject",
        },
    } | parts


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-11-21T14:00:00.000Z",
    "Bucket": "photos",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
