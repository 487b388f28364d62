"""Finds images, cuts them into batches, records them and fills the queues."""

from fakesweep.producer.client import submit

__all__ = ["submit"]
