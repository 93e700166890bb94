"""A plan for a run that is too large to be tried: its size, its memory and its time, measured in no space."""
