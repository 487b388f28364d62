"""Statements about outputs."""
