"""SQL statements of the application, and the connections that run them."""
