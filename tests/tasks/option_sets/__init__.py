"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from . import depth, in_context, lab, recall, state

OPTION_SETS = {
    name: given for part in (lab, recall, state, depth, in_context) for name, given in part.OPTION_SETS.items()
}
