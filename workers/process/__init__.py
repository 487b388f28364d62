"""Lifecycle of a worker process: startup, heartbeat, shutdown."""
