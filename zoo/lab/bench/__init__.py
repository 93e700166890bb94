"""What mixers cost, as a function of length."""
