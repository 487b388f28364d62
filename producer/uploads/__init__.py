"""Uploads: images handed in as they come, from Python, by HTTP or in events of S3."""

from producer.uploads.gathering import Uploads
from producer.uploads.submissions import Submitted
from schema.uploads import Upload

__all__ = ["Submitted", "Upload", "Uploads"]
