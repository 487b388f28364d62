"""Finds images, cuts them into batches, records them and fills the queues."""
