"""A scan in the foreground: producer and worker beside it, progress, and its end."""
