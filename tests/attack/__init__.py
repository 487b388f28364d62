"""The API under attack from this machine, while honest clients go on: `python -m tests.attack`."""
