"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

from . import depth, in_context, lab, recall, state

PARTS = (lab, recall, state, depth, in_context)

REFUSED = [refused for part in PARTS for refused in part.REFUSED]

SMALLEST = {name: options for part in PARTS for name, options in part.SMALLEST.items()}
