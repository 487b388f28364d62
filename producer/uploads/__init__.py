"""Uploads: images handed in as they come, from Python, by HTTP or in events of S3."""

from fakesweep.producer.uploads.gathering import Uploads
from fakesweep.producer.uploads.submissions import Submitted
from fakesweep.schema.uploads import Upload

__all__ = ["Submitted", "Upload", "Uploads"]
