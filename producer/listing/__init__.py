"""Listing: records the images of a scan's sources in the ledger, page by page."""
