"""Modules that several mixers are built of."""
