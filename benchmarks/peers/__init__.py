"""Peers: alternatives to fakesweep, each in its own process and used as documented."""
