"""Outputs: a line for each image of a scan, written to a folder or a bucket while it runs."""
