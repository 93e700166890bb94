"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from hypothesis import strategies as st

from .lab import lengths

SHARES = st.sampled_from([0.05, 0.3, 0.5, 0.95])


def halves(least, most):
    """An even length, and one other that is tested."""
    even = st.integers(least // 2, most // 2).map(lambda half: 2 * half)
    return {"length": even, "test_lengths": st.tuples(even)}


@st.composite
def undo_flip_flop(draw):
    test_undos = draw(st.none() | st.integers(2, 6))
    length, other = (3 * (test_undos or 0) + 3 + draw(st.integers(0, 30)) for _ in range(2))
    ignore, read, undo = draw(st.sampled_from([(0.8, 0.1, 0.05), (0.1, 0.3, 0.3), (0.0, 0.0, 0.5), (0.0, 0.4, 0.0)]))
    shares = {"ignore": ignore, "read": read, "undo": undo}
    return {"length": length, **shares, "test_undos": test_undos, "test_lengths": (other,)}


@st.composite
def state_recall(draw):
    variables = draw(st.integers(2, 6))
    bits = variables + draw(st.integers(0, 12))
    length, other = (bits + 2 * variables + 6 + draw(st.integers(0, 40)) for _ in range(2))
    return {"length": length, "bits": bits, "variables": variables, "test_lengths": (other,)}


@st.composite
def counting(draw):
    letters = draw(st.integers(2, 5))
    length, other = (letters + draw(st.integers(0, 60)) for _ in range(2))
    return {"length": length, "letters": letters, "test_lengths": (other,)}


OPTION_SETS = {
    "counting": counting(),
    "dyck": st.fixed_dictionaries({**halves(2, 40), "brackets": st.integers(2, 9), "depth": st.integers(1, 12)}),
    "flip-flop": st.fixed_dictionaries({**halves(4, 60), "ignore": SHARES, "test_ignore": st.none() | SHARES}),
    "palindrome": st.fixed_dictionaries({**halves(2, 50), "vocab": st.integers(3, 20)}),
    "sorting": st.fixed_dictionaries({**halves(2, 50), "vocab": st.integers(4, 20)}),
    "stack": st.fixed_dictionaries({**lengths(6, 60), "stacks": st.integers(1, 9), "elements": st.integers(2, 20)}),
    "state-recall": state_recall(),
    "undo-flip-flop": undo_flip_flop(),
}
