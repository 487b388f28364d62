"""Retention: scans that ended long ago are forgotten, by a command with the owner's rights."""
