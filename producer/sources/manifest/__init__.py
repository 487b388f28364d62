"""Manifests as sources."""
