"""The built-in residual schemes: a plugin like any other."""
