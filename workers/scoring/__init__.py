"""Scoring: the device's queue and the model cache."""
