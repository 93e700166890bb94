"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from hypothesis import strategies as st


@st.composite
def in_context_recall(draw):
    length, other = (2 * draw(st.integers(2, 40)) for _ in range(2))
    return {"length": length, "vocab": draw(st.integers(4, 21)), "test_lengths": (other,)}


@st.composite
def noisy_recall(draw):
    noise_vocab = draw(st.integers(1, 9))
    vocab = noise_vocab + draw(st.integers(4, 21))
    length, other = (2 * draw(st.integers(2, 40)) for _ in range(2))
    noise = draw(st.sampled_from([0.0, 0.2, 0.9]))
    return {"length": length, "vocab": vocab, "noise_vocab": noise_vocab, "noise": noise, "test_lengths": (other,)}


@st.composite
def fuzzy_recall(draw):
    key_tokens, value_tokens = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    vocab = 1 + max(2 * key_tokens, 2 * value_tokens - 1, 4) + draw(st.integers(0, 9))
    length, other = (2 * (key_tokens + value_tokens) + draw(st.integers(0, 60)) for _ in range(2))
    sizes = {"key_tokens": key_tokens, "value_tokens": value_tokens}
    return {"length": length, "vocab": vocab, **sizes, "test_lengths": (other,)}


@st.composite
def selective_copying(draw):
    copy = draw(st.integers(1, 9))
    length, other = (2 * copy + 2 + draw(st.integers(0, 50)) for _ in range(2))
    return {"length": length, "vocab": draw(st.integers(4, 20)), "copy": copy, "test_lengths": (other,)}


@st.composite
def delayed_copy(draw):
    delay, named = draw(st.integers(1, 9)), draw(st.booleans())
    length, other = (delay + 1 + named + draw(st.integers(0, 30)) for _ in range(2))
    vocab = draw(st.integers(2, 20))
    return {"length": length, "vocab": vocab, "delay": delay, "named": named, "test_lengths": (other,)}


def lengths(least, most):
    """A length, and one other length that is tested."""
    return {"length": st.integers(least, most), "test_lengths": st.tuples(st.integers(least, most))}


OPTION_SETS = {
    "compression": st.fixed_dictionaries({"length": st.integers(2, 40), "vocab": st.integers(3, 20)}),
    "delayed-copy": delayed_copy(),
    "fuzzy-recall": fuzzy_recall(),
    "in-context-recall": in_context_recall(),
    "induction": st.fixed_dictionaries({**lengths(3, 50), "vocab": st.integers(3, 20)}),
    "memorization": st.fixed_dictionaries(
        {
            "length": st.integers(1, 20).map(lambda half: 2 * half),
            "vocab": st.integers(5, 60),
            "seed": st.integers(0, 9),
        }
    ),
    "noisy-recall": noisy_recall(),
    "parity": st.fixed_dictionaries(lengths(1, 60)),
    "selective-copying": selective_copying(),
    "word-problem": st.fixed_dictionaries(
        {**lengths(1, 40), "group": st.sampled_from(["Z60", "S3", "S4", "A5", "S5"])}
    ),
}
