"""Statements about webhooks."""
