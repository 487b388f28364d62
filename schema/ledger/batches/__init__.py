"""Statements about batches: published, leased, stored, recovered."""
