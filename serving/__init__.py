"""Common parts of HTTP processes: problems, tokens, rates, health, OpenAPI, connections."""
