"""Statements on webhooks."""
