"""Telemetry of processes: heartbeat, throughput, logs."""
