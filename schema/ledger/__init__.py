"""Every statement that the application runs, and the connections that run them."""
