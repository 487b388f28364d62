"""Random faults against a real cluster on this machine: `python -m tests.chaos`."""
