"""Mixers that sum earlier tokens by their lag."""
