"""Listing: from a scan's sources to the ledger, page by page."""
