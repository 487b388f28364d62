"""Statements about scans: added, listed, steered, audited."""
