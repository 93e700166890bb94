"""State: what was said changes what holds."""
