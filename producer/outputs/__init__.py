"""Outputs: one JSON line per image, written to a folder or bucket while the scan runs."""
