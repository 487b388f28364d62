"""Statements on batches: publishing, leases, outcomes, recovery."""
