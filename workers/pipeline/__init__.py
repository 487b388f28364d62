"""Pipeline of a batch: fetch, decode, classify, judge, store."""
