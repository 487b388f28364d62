"""Statements that delete."""
