"""Work of the commands, one file each; `fakesweep.commands` declares their options and help."""
