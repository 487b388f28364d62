"""Scoring: the device's queue, and the models of the process."""
