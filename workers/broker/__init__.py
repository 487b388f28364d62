"""Celery's side of a worker: consumer, envelope, dead letters."""
