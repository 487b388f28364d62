"""Uploads: single images submitted from Python, over HTTP, or by S3 events."""

from fakesweep.producer.uploads.group_commit import Uploads
from fakesweep.producer.uploads.submissions import Submitted
from fakesweep.schema.ledger.uploads import Upload

__all__ = ["Submitted", "Upload", "Uploads"]
