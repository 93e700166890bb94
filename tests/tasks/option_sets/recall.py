"""Odd and even, small and larger options of every task, drawn by Hypothesis."""

from hypothesis import strategies as st

TOKENS = {"plain": 4, "forgetting": 4, "compositional": 6, "stacked": 2}
"""That a pair and its query take, without updates."""


@st.composite
def mqar(draw):
    variant, power = draw(st.sampled_from(sorted(TOKENS))), draw(st.sampled_from([0.01, 0.5, 1.0]))
    if variant != "stacked" and draw(st.integers(0, 9)) == 0:
        return {"variant": variant, "mixture": True, "length": draw(st.sampled_from([64, 128])), "test_lengths": (64,)}
    pairs = draw(st.sampled_from([1, 4, 9]) if variant == "compositional" else st.integers(1, 9))
    updates = draw(st.integers(1, pairs))
    least = TOKENS[variant] * pairs + (2 * updates if variant == "forgetting" else 0)
    length, other = (least + 2 * draw(st.integers(0, 20)) for _ in range(2))
    if variant == "stacked":
        vocab = (pairs + 1) ** 2 + draw(st.integers(0, 99))
    else:
        vocab = max(length, other, 9 if variant == "forgetting" else 0) + draw(st.integers(1, 400))
    sizes = {"pairs": pairs, "length": length, "vocab": vocab, "test_lengths": (other,)}
    return {"variant": variant, "power": power, "updates": updates, **sizes}


@st.composite
def phonebook(draw):
    digits, questions = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    least = (max(2, questions) + questions) * (digits + 7)
    length, other = (least + draw(st.integers(0, 99)) for _ in range(2))
    return {"length": length, "digits": digits, "questions": questions, "test_lengths": (other,)}


@st.composite
def needle(draw):
    digits, needles = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    least = (needles + 1) * (digits + 20) + 8
    length, other = (least + draw(st.integers(0, 99)) for _ in range(2))
    return {"length": length, "digits": digits, "needles": needles, "test_lengths": (other,)}


OPTION_SETS = {
    "mqar": mqar(),
    "needle": needle(),
    "phonebook": phonebook(),
}
