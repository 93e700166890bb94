"""Fair comparisons: the same batches, equal sizes, several seeds, and what they say."""
