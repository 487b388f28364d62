"""Attacks on the API from this machine, beside honest clients: `python -m tests.attack`."""
