"""Uploads: images handed in as they come, from Python, by HTTP or in events of S3."""

from fakesweep.producer.uploads.group_commit import Uploads
from fakesweep.producer.uploads.submissions import Submitted
from fakesweep.schema.ledger.uploads import Upload

__all__ = ["Submitted", "Upload", "Uploads"]
