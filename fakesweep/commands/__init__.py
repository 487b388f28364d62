"""The commands as click declares them, one file each; `fakesweep.actions` has what they do."""
