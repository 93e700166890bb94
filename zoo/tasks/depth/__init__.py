"""Depth: answers that take several steps."""
