"""In-context learning: the rule is in the sequence."""
