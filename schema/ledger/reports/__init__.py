"""Statements of the reading side, from the public views."""
