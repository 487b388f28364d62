"""Local S3 server of the photographs, on the same cores."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.runs import Job
from tests.support.servers import s3_server


def credentials() -> dict[str, str]:
    """Return the credentials of the local S3 server."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "testtest",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def served(job: Job) -> Iterator[Job]:
    """Serve the job's folder by S3; yield the job with its S3 source."""
    folder = Path(job.folder)
    with s3_server(folder.parents[1]) as server:
        # The server's bucket is the parent folder.
        source = f"s3://{folder.parent.name}/{folder.name}/"
        settings = {"S3_ENDPOINT_URL": server.endpoint_url, "S3_ADDRESSING_STYLE": "path"}
        yield replace(job, source=source, settings=settings)
