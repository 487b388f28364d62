"""Statements that read the public views."""
