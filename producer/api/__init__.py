"""HTTP API for uploads; needs the `api` extra."""
