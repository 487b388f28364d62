"""Network and storage: the egress guard, and errors of storage."""
