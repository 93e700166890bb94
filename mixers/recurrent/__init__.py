"""Mixers that carry a state from token to token, which the next token replaces."""
