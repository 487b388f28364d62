"""The contract: a JSON Schema for each output that programs read.

`python -m fakesweep.contract` writes `docs/contract/` from this package; a test compares them.
"""
