"""What processes tell of themselves: heartbeat, throughput, logs."""
