"""Producer: lists images, cuts them into batches, records them and publishes them.

Programs call `submit` as `from fakesweep import submit`.
"""

from fakesweep.producer.client import submit

__all__ = ["submit"]
