"""The life of a worker process: startup, heartbeat, shutdown."""
