"""What reads pictures where Pillow does not, and what is known of a file before it is decoded."""
