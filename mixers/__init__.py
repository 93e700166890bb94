"""The built-in token mixers: a plugin like any other."""
