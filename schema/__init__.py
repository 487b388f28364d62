"""The shared contract of all rooms: words, messages, tables, statements, settings."""

__version__ = "0.1.0"
