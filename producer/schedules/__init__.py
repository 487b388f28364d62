"""Schedules: cron expressions, and the scans they start."""
