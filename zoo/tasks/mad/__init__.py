"""The six tasks of MAD."""
