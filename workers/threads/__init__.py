"""Threads that serve the lanes, and what ends a process without one of them."""
