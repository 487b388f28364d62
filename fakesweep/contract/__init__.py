"""The contract: a JSON Schema for everything of ours that machines read.

`python -m fakesweep.contract` writes `docs/contract/` from what stands here; a test compares them.
"""
