"""Schedules: cron times, and the scans that each makes."""
