"""Labels in patterns: all places with one label are one module."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import PatternError, UsageError
from zoo.plugin.pattern import Call, Layer, Pattern, Repeat, parse, parse_call


def error_of(text, read=parse):
    """The message, and what the carets mark."""
    with pytest.raises(PatternError) as caught:
        read(text)
    message, line, carets = str(caught.value).split("\n")
    return message, line[carets.index("^") : len(carets)]


def test_label_is_part_of_the_call():
    assert parse("a@one(x=1)*2, b/c@ff") == Pattern(
        (
            Repeat((Layer((Call("a", (("x", 1),), label="one"),)),), 2),
            Layer((Call("b"),), Call("c", label="ff")),
        )
    )
    assert parse("a@one") != parse("a@two") != parse("a")
    assert Call("a", label="my_one").label == "my-one"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a @ one ( x = 1 ) , b", "a@one(x=1), b"),
        ("acme : a@My_One*2", "acme:a@My-One*2"),
        ("a@x()", "a@x"),
        ("a@x(o=1), a@x(o=1)", "a@x(o=1), a@x"),
        ("a@x(o=1, p=2) + a@x(p=2, o=1)/c@f(q=3), (b/c@f(q=3))*2", "a@x(o=1, p=2) + a@x/c@f(q=3), b/c@f*2"),
    ],
)
def test_canonical_form_has_the_options_of_a_label_once(text, canonical):
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


def test_every_place_has_the_options_of_the_first_one():
    layers = parse("a@x(o=1), b/c@f(p=2), (a@x/c@f)*2").layers(6)
    assert [str(layer) for layer in layers] == [
        "a@x(o=1)", "b/c@f(p=2)", "a@x(o=1)/c@f(p=2)", "a@x(o=1)/c@f(p=2)", "a@x(o=1)", "b/c@f(p=2)",
    ]  # fmt: skip


def test_position_of_a_call_spans_its_label_and_options():
    text = "a @ x ( o = 1 ), b@y, a@x"
    calls = [layer.mixers[0] for layer in parse(text).layers()]
    assert [text[slice(*call.position)] for call in calls] == ["a @ x ( o = 1 )", "b@y", "a@x"]


NO_LABEL = " is no label: expected letters, digits, '-' and '_' after a first letter"
ONE_LABEL = " (in a pattern a mixer may have one label: name@label(options))"


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a@3", f"'3'{NO_LABEL}", "3"),
        ("a@x.y, b", f"'x.y'{NO_LABEL}", "x.y"),
        ("a@-x", f"'-x'{NO_LABEL}", "-x"),
        ("a@(x=1)", "unexpected '(': expected a label", "("),
        ("a@, b", "unexpected ',': expected a label", ","),
        ("a@@x", "unexpected '@': expected a label", "@"),
        ("@x", "unexpected '@': expected a name or '('", "@"),
        ("a@x@y", f"unexpected '@': expected ',', '*', '+', '/', '(' or the end{ONE_LABEL}", "@"),
        ("a(o=1)@x", f"unexpected '@': expected ',', '*', '+', '/' or the end{ONE_LABEL}", "@"),
        ("(a, b)@x", f"unexpected '@': expected ',', '*' or the end{ONE_LABEL}", "@"),
        ("a@x, b@x", "label 'x' already stands for a@x: expected that mixer or another label", "b@x"),
        ("a@x, d:a@x", "label 'x' already stands for a@x: expected that mixer or another label", "d:a@x"),
        ("a@x(o=1), a@x(o=2)", "label 'x' already stands for a@x(o=1): expected these options or none", "a@x(o=2)"),
        ("a@x(o=1), a@x(o=1.0)", "label 'x' already stands for a@x(o=1): expected these options or none", "a@x(o=1.0)"),
        ("a@x(o=1), a@x(p=1)", "label 'x' already stands for a@x(o=1): expected these options or none", "a@x(p=1)"),
        ("a@x, a@x(o=1)", "label 'x' already stands for a@x: expected no options, or give them there", "a@x(o=1)"),
        ("a/b@x, b@x", "label 'x' already stands for a channel mixer: expected another label for a token mixer", "b@x"),
    ],
)
def test_error_names_the_mistake_and_marks_the_place(text, message, place):
    assert error_of(text) == (message, place)


def test_label_that_is_missing_at_the_end():
    with pytest.raises(PatternError, match="the text ends too early: expected a label"):
        parse("a, b@")


def test_single_call_is_no_place_of_a_pattern_and_has_no_label():
    assert error_of("byte@x", parse_call) == (f"unexpected '@': expected '(' or the end{ONE_LABEL}", "@")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Call("a", label="3"), f"'3'{NO_LABEL}"),
        (lambda: Call("a", label=""), f"''{NO_LABEL}"),
        (
            lambda: Pattern((Layer((Call("a", label="x"), Call("b", label="x"))),)),
            "label 'x' already stands for a@x: expected that mixer",
        ),
    ],
)
def test_a_tree_that_no_text_gives_cannot_be_built(build, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        build()


TOKEN = [Call("a", (("x", 1), ("y", "z")), label="one"), Call("d:b", label="two"), Call("c", (("x", 2),))]
CHANNEL = [None, Call("m"), Call("m", (("x", 0.5),), label="ff"), Call("n", label="three")]
layers = st.builds(Layer, st.lists(st.sampled_from(TOKEN), min_size=1, max_size=3).map(tuple), st.sampled_from(CHANNEL))
items = st.recursive(
    layers,
    lambda item: st.builds(Repeat, st.lists(item, min_size=1, max_size=2).map(tuple), st.integers(1, 3)),
    max_leaves=4,
)


@given(st.builds(Pattern, st.lists(items, min_size=1, max_size=4).map(tuple)))
def test_printing_and_parsing_give_the_same_pattern(pattern):
    again = parse(str(pattern))
    assert again == pattern
    assert repr(again) == repr(pattern)
    assert str(again) == str(pattern)
    known = {repr(call) for call in (*TOKEN, *CHANNEL)}
    assert {repr(call) for layer in again.layers() for call in (*layer.mixers, layer.channel)} <= known
