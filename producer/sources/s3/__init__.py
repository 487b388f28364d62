"""S3 sources: prefixes, versions and objects."""
