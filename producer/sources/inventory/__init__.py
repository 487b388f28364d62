"""S3 Inventory source: the object lists that S3 writes itself."""
