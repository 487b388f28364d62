"""Judging: the catalogue of models, the sides of labels, and policies."""
