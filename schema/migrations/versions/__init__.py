"""One module for each migration, beside its SQL."""
