"""The contract every part of fakesweep shares: words, messages, tables, statements, settings."""

__version__ = "0.1.0"
