"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

OPTION_SETS = {}
