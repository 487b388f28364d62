"""Faults at random against a real cluster on this machine: `python -m tests.chaos`."""
