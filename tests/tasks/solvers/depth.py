"""Each task solved in plain Python from its definition alone."""

SOLVERS = {}
