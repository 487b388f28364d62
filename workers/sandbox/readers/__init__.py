"""Readers of formats that Pillow lacks, and parsers of headers before decoding."""
