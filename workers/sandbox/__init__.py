"""Sandbox: processes that decode untrusted bytes into pixels and facts; only here is Pillow."""
