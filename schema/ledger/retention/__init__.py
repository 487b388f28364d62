"""Statements that forget."""
