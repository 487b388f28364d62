"""Statements on policies, models and processes."""
