"""Declarations of the commands for click, one file each; `fakesweep.actions` has their work."""
