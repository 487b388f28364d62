"""Statements on outputs."""
