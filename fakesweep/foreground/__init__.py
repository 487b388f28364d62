"""A scan in the foreground: the producer's service, a worker process, progress, and the end."""
