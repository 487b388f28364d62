"""Broker side of a worker: Celery's consumer, the message envelope, dead letters."""
