"""The pipeline: what happens to a batch, as one straight line."""
