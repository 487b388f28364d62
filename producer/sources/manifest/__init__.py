"""Manifest sources: lists of URIs, packed or not."""
