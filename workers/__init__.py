"""Fetches, decodes, classifies, judges and stores the images of a batch."""
