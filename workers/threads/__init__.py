"""Thread primitives: priority threads, a shared-exclusive lock, and fatal ends of the process."""
