"""One module for each migration; the SQL it runs lies beside it."""
