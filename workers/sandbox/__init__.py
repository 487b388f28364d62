"""The sandbox: processes that turn untrusted bytes into pixels and facts; the home of Pillow."""
