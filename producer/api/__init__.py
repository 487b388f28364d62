"""The HTTP API that uploads are handed to; needs the `api` extra."""
