"""What the commands do, one file each; a command imports its file when it runs."""
