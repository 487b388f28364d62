"""How scores become verdicts: the catalogue of models, the sides of labels, policies."""
