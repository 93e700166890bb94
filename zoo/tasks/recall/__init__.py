"""Recall: what was said is found again."""
