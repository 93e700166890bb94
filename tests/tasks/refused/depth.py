"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

REFUSED = []

SMALLEST = {}
