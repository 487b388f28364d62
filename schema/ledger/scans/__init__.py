"""Statements on scans: recorded, listed, controlled, audited."""
