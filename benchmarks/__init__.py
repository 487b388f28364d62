"""Benchmarks, run by hand; nothing else imports them. `python -m benchmarks` runs the races."""
