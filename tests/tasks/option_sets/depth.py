"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from hypothesis import strategies as st

LEAST = {"prefix": 5, "infix": 4, "brackets": 6}


@st.composite
def hops(draw):
    queries = draw(st.integers(1, 12))
    length, other = (6 + 3 * min(3, queries) + draw(st.integers(0, 50)) for _ in range(2))
    sizes = {"words": draw(st.integers(3, 20)), "hops": draw(st.integers(1, 8)), "queries": queries}
    return {"length": length, **sizes, "test_lengths": (other,)}


@st.composite
def arithmetic(draw):
    form = draw(st.sampled_from(["prefix", "infix", "brackets"]))
    length, other = (LEAST[form] + draw(st.integers(0, 40)) for _ in range(2))
    return {"form": form, "modulus": draw(st.integers(2, 30)), "length": length, "test_lengths": (other,)}


@st.composite
def topological_order(draw):
    parents = draw(st.integers(1, 5))
    least = 9 if parents == 1 else 11
    length, other = (least + draw(st.integers(0, 80)) for _ in range(2))
    return {"length": length, "words": draw(st.integers(3, 14)), "parents": parents, "test_lengths": (other,)}


OPTION_SETS = {"arithmetic": arithmetic(), "hops": hops(), "topological-order": topological_order()}
