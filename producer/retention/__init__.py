"""Retention: deletes old scans, by a command with the owner's rights."""
