"""Statements about what does the work: policies, models, processes."""
