"""Measurements to run by hand; nothing here is a test, and nothing else imports it."""
