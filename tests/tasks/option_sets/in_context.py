"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from hypothesis import strategies as st


@st.composite
def automata(draw):
    edges = draw(st.integers(2, 4))
    length, other = (draw(st.integers(3, 70)) for _ in range(2))
    sizes = {"edges": edges, "states": edges + draw(st.integers(1, 6)), "letters": edges + draw(st.integers(1, 30))}
    many = {"strings": draw(st.integers(3, 12)), "string_length": draw(st.integers(1, 12))}
    return {"length": length, **sizes, **many, "test_lengths": (other,)}


@st.composite
def copy(draw):
    duplicated = draw(st.integers(0, 4))
    length, other = (2 * (2 * duplicated + 1) + 3 + draw(st.integers(0, 60)) for _ in range(2))
    return {
        "length": length,
        "letters": draw(st.integers(2, 26)),
        "duplicated": duplicated,
        "test_lengths": (other,),
    }


@st.composite
def ngram_lookup(draw):
    key, answer, order = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.sampled_from(["suffix", "prefix"]))
    longest = [key + answer + draw(st.integers(0, 26 - key - answer)) for _ in range(2)]
    least = next(letters for letters in range(2, 27) if letters**key >= max(longest))
    length, other = (letters + key + answer + (3 if order == "suffix" else 4) for letters in longest)
    options = {"key": key, "answer": answer, "order": order}
    return {"length": length, "letters": draw(st.integers(least, 26)), **options, "test_lengths": (other,)}


OPTION_SETS = {"automata": automata(), "copy": copy(), "ngram-lookup": ngram_lookup()}
