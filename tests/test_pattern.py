import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import PatternError, UsageError
from zoo.plugin.pattern import Call, Layer, Pattern, Repeat, parse, parse_call, point_at

PAGE = Path(__file__).parents[1] / "docs" / "pattern-language.md"


def error_of(text):
    with pytest.raises(PatternError) as caught:
        parse(text)
    return str(caught.value)


def marked(error):
    """The message, and what the carets mark of an error about ASCII text."""
    message, line, carets = error.split("\n")
    assert carets.strip(" ").strip("^") == ""
    return message, line[carets.index("^") : len(carets)]


def layer(*names, channel=None):
    return Layer(tuple(Call(name) for name in names), channel and Call(channel))


# ---- reading -----------------------------------------------------------------------------------------------------


def test_tree_of_a_pattern():
    assert parse("a*3, (b + c/mlp(expansion=2), acme.x:d)*2, e") == Pattern(
        (
            Repeat((layer("a"),), 3),
            Repeat((Layer((Call("b"), Call("c")), Call("mlp", (("expansion", 2),))), layer("acme.x:d")), 2),
            layer("e"),
        )
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a", "a"),
        ("((a))", "a"),
        ("a()", "a"),
        ("a*1", "a"),
        ("(a, b)*1, c", "a, b, c"),
        ("((a, (b)))*2", "(a, b)*2"),
        ("(a*2)*1", "a*2"),
        ("(a*2)*3", "(a*2)*3"),
        ("((a)*2, b)", "a*2, b"),
        (" a\n,\tb+c / mlp\r\n* 2 ", "a, b + c/mlp*2"),
        ("dot_product_x", "dot-product-x"),
        ("my_plug.in : dot_product", "my-plug.in:dot-product"),
        ("a( max-lag = 3,b = 4 )", "a(max_lag=3, b=4)"),
        ("a(_x=1)", "a(_x=1)"),
    ],
)
def test_canonical_form(text, canonical):
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "value", "canonical"),
    [
        ("3", 3, "3"),
        ("-3", -3, "-3"),
        ("+1_000", 1000, "1000"),
        (".5", 0.5, "0.5"),
        ("5.", 5.0, "5.0"),
        ("-1E-5", -1e-5, "-1e-05"),
        ("1e5", 100000.0, "100000.0"),
        ("1e+22", 1e22, "1e+22"),
        ("true", True, "True"),
        ("False", False, "False"),
        ("none", None, "None"),
        ("'true'", "true", "'true'"),
        ("'None'", "None", "'None'"),
        ("logsumexp", "logsumexp", "logsumexp"),
        ("'logsumexp'", "logsumexp", "logsumexp"),
        ("feature-lags", "feature-lags", "feature-lags"),
        ("inf", "inf", "inf"),
        ("e5", "e5", "e5"),
        ("'3'", "3", "'3'"),
        ("''", "", "''"),
        ("'a b'", "a b", "'a b'"),
        ('"it\'s"', "it's", '"it\'s"'),
        (r"'it\'s'", "it's", '"it\'s"'),
        (r"'\n\x41\\'", "\nA\\", r"'\nA\\'"),
        ("'a), b*2 (['", "a), b*2 ([", "'a), b*2 (['"),
        ("'é'", "é", "'é'"),
        ("()", (), "()"),
        ("[]", (), "()"),
        ("(3)", 3, "3"),
        ("(3,)", (3,), "(3,)"),
        ("[3]", (3,), "(3,)"),
        ("[1, (2, x), 'y z',]", (1, (2, "x"), "y z"), "(1, (2, x), 'y z')"),
    ],
)
def test_value(text, value, canonical):
    call = parse_call(f"a(x={text})")
    assert repr(call.keywords["x"]) == repr(value)
    assert str(call) == f"a(x={canonical})"
    assert str(parse_call(str(call))) == str(call)


def test_keywords_keep_the_order_given():
    assert list(parse_call("bpe(vocab_size=8192, b=1, a=2)").keywords.items()) == [
        ("vocab_size", 8192),
        ("b", 1),
        ("a", 2),
    ]


def test_layers_once_and_cycled():
    pattern = parse("(a, b*2)*2, c")
    assert "".join(str(one) for one in pattern.layers()) == "abbabbc"
    assert "".join(str(one) for one in pattern.layers(9)) == "abbabbcab"
    assert "".join(str(one) for one in pattern.layers(2)) == "ab"


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_layers_has_bounds(count):
    with pytest.raises(UsageError, match=f"a stack cannot have {count} layers: expected 1 to 1024"):
        parse("a").layers(count)


def test_position_is_where_the_call_stands_and_no_part_of_what_it_says():
    text = " a( x = 1 ) +\tb , (acme:c/mlp( ) )*2"
    layers = parse(text).layers(2)
    calls = [call for one in layers for call in (*one.mixers, one.channel) if call]
    assert [text[slice(*call.position)] for call in calls] == ["a( x = 1 )", "b", "acme:c", "mlp( )"]
    assert calls[0] == Call("a", (("x", 1),))
    assert hash(calls[0]) == hash(Call("a", (("x", 1),)))
    assert "position" not in repr(calls[0])


# ---- laws --------------------------------------------------------------------------------------------------------

names = st.from_regex(r"([a-z0-9]([A-Za-z0-9._-]{,3}[a-z0-9])?:)?[a-zA-Z][a-z0-9_-]{,4}", fullmatch=True)
option_names = st.from_regex(r"[a-z_][a-zA-Z0-9_-]{,4}", fullmatch=True)
words = st.sampled_from(["true", "None", "none", "inf", "nan", "-1", "1e5", "a-b", "_", "'", '"', "\\", "x\\'", "()"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text() | words
values = st.recursive(scalars | texts, lambda value: st.lists(value, max_size=3).map(tuple), max_leaves=5)
calls = st.builds(
    Call,
    names,
    st.lists(st.tuples(option_names, values), max_size=3, unique_by=lambda pair: pair[0].replace("-", "_")).map(tuple),
)
layers = st.builds(Layer, st.lists(calls, min_size=1, max_size=3).map(tuple), st.none() | calls)
items = st.recursive(
    layers,
    lambda item: st.builds(Repeat, st.lists(item, min_size=1, max_size=2).map(tuple), st.integers(1, 4)),
    max_leaves=4,
)
patterns = st.builds(Pattern, st.lists(items, min_size=1, max_size=4).map(tuple))


@pytest.mark.slow
@given(patterns)
def test_printing_and_parsing_give_the_same_pattern(pattern):
    again = parse(str(pattern))
    assert again == pattern
    assert hash(again) == hash(pattern)
    assert repr(again) == repr(pattern)  # stricter: 1, 1.0 and True are equal
    assert str(again) == str(pattern)
    assert again.layers() == pattern.layers()


@given(calls)
def test_printing_and_parsing_give_the_same_call(call):
    again = parse_call(str(call))
    assert repr(again) == repr(call)
    assert again.position == (0, len(str(call)))


TEXT = "my.plug : a ( max_lag = -4 , b = [ 1 , 'x y' ] ) + c / mlp , ( d , e / none ) * 2"
PARTS = re.findall(r"'[^']*'|\S+", TEXT)


@given(st.lists(st.sampled_from(["", " ", "\n", "\t "]), min_size=len(PARTS), max_size=len(PARTS)))
def test_spaces_are_free(spaces):
    spaced = "".join(space + part for space, part in zip(spaces, PARTS, strict=True))
    assert str(parse(spaced)) == "my.plug:a(max_lag=-4, b=(1, 'x y')) + c/mlp, (d, e/none)*2"


@given(st.text(alphabet="ab1.,+*/@()[]='\"\\:-_ \n\té混", max_size=20))
def test_any_text_is_a_pattern_or_a_clear_error(text):
    try:
        pattern = parse(text)
    except PatternError as error:
        message, line, carets = str(error).split("\n")
        assert "expected" in message
        assert line.startswith("  ")
        assert re.fullmatch(r"  +\^+", carets)
    else:
        assert repr(parse(str(pattern))) == repr(pattern)


# ---- errors ------------------------------------------------------------------------------------------------------

AFTER_NAME = "',', '*', '+', '/', '@', '('"
LAYER = " (a layer is mixer + mixer/channel*count; brackets go around layers)"
NO_NAME = (
    " is no name: expected letters, digits, '-' and '_' after a first letter, at most with 'distribution:' in front"
)
NO_COUNT = " is no count: expected a whole number from 1 to 1024"
NO_VALUE = " is no value: expected True, False, None, a finite number or a plain word; other text goes in quotes"


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a)", f"unexpected ')': expected {AFTER_NAME} or the end", ")"),
        ("a ; b", f"unexpected ';': expected {AFTER_NAME} or the end", ";"),
        ("a bcd", f"unexpected 'bcd': expected {AFTER_NAME} or the end", "bcd"),
        ("(a]", f"unexpected ']': expected {AFTER_NAME} or ')'", "]"),
        (", a", "unexpected ',': expected a name or '('", ","),
        ("a,, b", "unexpected ',': expected a name or '('", ","),
        ("()", "unexpected ')': expected a name or '('", ")"),
        ("*2", "unexpected '*': expected a name or '('", "*"),
        ("a + (b)", "unexpected '(': expected a name", "("),
        ("a/*2", "unexpected '*': expected a name", "*"),
        ("a/mlp + b", f"unexpected '+': expected ',', '*', '@', '(' or the end{LAYER}", "+"),
        ("a/b/c", f"unexpected '/': expected ',', '*', '@', '(' or the end{LAYER}", "/"),
        ("(a + b)/mlp", f"unexpected '/': expected ',', '*' or the end{LAYER}", "/"),
        ("a*2*3", f"unexpected '*': expected ',' or the end{LAYER}", "*"),
        ("a*2/mlp", f"unexpected '/': expected ',' or the end{LAYER}", "/"),
        ("a*(2)", "unexpected '(': expected a whole number", "("),
        ("a*0", f"'0'{NO_COUNT}", "0"),
        ("a*-1", f"'-1'{NO_COUNT}", "-1"),
        ("a*2.5", f"'2.5'{NO_COUNT}", "2.5"),
        ("a*b", f"'b'{NO_COUNT}", "b"),
        ("a*1025", f"'1025'{NO_COUNT}", "1025"),
        ("3, a", f"'3'{NO_NAME}", "3"),
        ("a.b", f"'a.b'{NO_NAME}", "a.b"),
        ("acme:, a", f"'acme:'{NO_NAME}", "acme:"),
        ("acme : 3", f"'acme:3'{NO_NAME}", "acme : 3"),
        ("a(3)", "'3' is no option: expected name=value", "3"),
        ("a(heads)", "'heads' is no option: expected name=value", "heads"),
        ("a(2.5, x=1)", "'2.5' is no option: expected name=value", "2.5"),
        ("a('b')", "unexpected \"'\": expected an option (name=value) or ')'", "'"),
        ("a(x=1,)", "unexpected ')': expected an option (name=value)", ")"),
        (
            "a(3=4)",
            "'3' is no option's name: expected letters, digits and '_' after a first letter",
            "3",
        ),
        ("a(x=1, y=2, x=3)", "option 'x' is given twice: expected each option once", "x"),
        ("a(x-y=1, x_y=2)", "option 'x_y' is given twice: expected each option once", "x_y"),
        ("a(x=)", "unexpected ')': expected a value", ")"),
        ("a(x=@)", "unexpected '@': expected a value", "@"),
        ("a(x=/data)", "unexpected '/': expected a value", "/"),
        ("a(x=(1,,2))", "unexpected ',': expected a value or ')'", ","),
        ("a(x=[1, 2)", "unexpected ')': expected ',' or ']'", ")"),
        ("a(x=[1, )", "unexpected ')': expected a value or ']'", ")"),
        ("a(x=1 + 2)", "unexpected '+': expected ',' or ')'", "+"),
        ("a(x=3abc)", f"'3abc'{NO_VALUE}", "3abc"),
        ("a(x=1.2.3)", f"'1.2.3'{NO_VALUE}", "1.2.3"),
        ("a(x=a.b)", f"'a.b'{NO_VALUE}", "a.b"),
        ("a(x=007)", f"'007'{NO_VALUE}", "007"),
        ("a(x=1__0)", f"'1__0'{NO_VALUE}", "1__0"),
        ("a(x=-1e999)", f"'-1e999'{NO_VALUE}", "-1e999"),
        ("a(x=1j)", f"'1j'{NO_VALUE}", "1j"),
        ("a(x='b)", "'b) has no closing quote: expected a ' on the same line", "'b)"),
        (r'a(x="b\")', r'"b\") has no closing quote: expected a " on the same line', r'"b\")'),
        (r"a(x='\q')", r"'\q' is no string that Python reads: expected '\\' for a backslash", r"'\q'"),
        ("(a*1000)*2", "there are 2000 layers after expansion: expected at most 1024", "2"),
        ("(a*600, b*600), c", "there are 1200 layers after expansion: expected at most 1024", "("),
        (" a*600, b*600 ", "there are 1200 layers after expansion: expected at most 1024", "a*600, b*600"),
    ],
)
def test_error_names_the_mistake_and_marks_the_place(text, message, place):
    assert marked(error_of(text)) == (message, place)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,", "a name or '('"),
        ("a +", "a name"),
        ("a/", "a name"),
        ("a*", "a whole number"),
        ("(a", f"{AFTER_NAME} or ')'"),
        ("((a)", "',', '*' or ')'"),
        ("a(", "an option (name=value) or ')'"),
        ("a(x=", "a value"),
        ("a(x=1", "',' or ')'"),
        ("a(x=[1, 2", "',' or ']'"),
        ("a,\n\n", "a name or '('"),
    ],
)
def test_text_that_ends_too_early_is_marked_behind_its_end(text, expected):
    shown = text.rstrip()
    assert error_of(text) == f"the text ends too early: expected {expected}\n  {shown}\n  {' ' * len(shown)}^"


@pytest.mark.parametrize("text", ["", "  ", " \n\t"])
def test_empty_pattern(text):
    message, line, carets = error_of(text).split("\n")
    assert message == "the text is empty: expected a name or '('"
    assert line.strip() == ""
    assert carets == "  ^"


def test_parse_call_reads_one_call_only():
    assert parse_call(" bpe( vocab-size=8192 ) ") == Call("bpe", (("vocab_size", 8192),))
    with pytest.raises(PatternError) as caught:
        parse_call("bpe, byte")
    assert marked(str(caught.value)) == ("unexpected ',': expected '(' or the end", ",")


# ---- limits ------------------------------------------------------------------------------------------------------


def test_layers_up_to_the_limit():
    assert len(parse("(a*32)*32").layers()) == 1024
    assert len(parse("a, (b, c*1022)").layers()) == 1024


def test_layers_are_counted_without_expanding_them():
    nested = "(" * 30 + "a" + "*1000)" * 30
    assert marked(error_of(nested))[0] == "there are 1000000 layers after expansion: expected at most 1024"


def test_length_limit():
    assert len(parse("a" * 10_000).layers()) == 1
    assert error_of("a" * 10_001).startswith("the text has 10001 characters: expected at most 10000\n")


def test_length_limit_holds_for_the_canonical_form():
    text = f"a(x=[{'1,' * 4_000}])"
    assert error_of(text).startswith("the canonical form has 12005 characters: expected at most 10000\n")


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("a(x=(", "))"), ("a(x=[", "])")])
def test_brackets_up_to_the_limit(opening, closing):
    kind = opening[-1]
    inside = "a" if opening == "(" else "1"
    error = error_of(opening + kind * 5_000 + inside + closing)
    assert error.startswith("brackets are nested too deep: expected at most 50 levels\n")


def test_redundant_brackets_are_dropped_up_to_the_limit():
    assert str(parse("(" * 50 + "a" + ")" * 50)) == "a"
    assert marked(error_of("(" * 51 + "a" + ")" * 51))[1] == "("


def test_tuples_up_to_the_limit():
    deep = "[" * 16 + "]" * 16
    assert str(parse_call(f"a(x={deep})")) == f"a(x={'(' * 16}{'),' * 15}))"
    message, place = marked(error_of(f"a(xyz=[{deep}])"))
    assert (message, place) == ("the value is nested too deep: expected at most 16 levels", "xyz")


@pytest.mark.parametrize("text", ["a*" + "9" * 5_000, "a(x=" + "9" * 5_000 + ")", "a(x=" + "-" * 9_000 + "1)"])
def test_huge_words_are_errors_of_one_short_line(text):
    assert all(len(line) < 150 for line in error_of(text).split("\n"))


# ---- the caret ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "line", "carets"),
    [
        ("a, b", (3, 4), "a, b", "   ^"),
        ("a, bcd", (3, 6), "a, bcd", "   ^^^"),
        ("a, b", (4, 4), "a, b", "    ^"),
        ("\ta,\tb", (4, 5), " a, b", "    ^"),
        ("a,\nb, c,\nd", (6, 7), "b, c,", "   ^"),
        ("a,\r\nb, c,\r\nd", (7, 8), "b, c,", "   ^"),
        ("a(x=1,\n  y=2), b", (0, 14), "a(x=1,", "^^^^^^"),
        ("a\nb", (1, 1), "a", " ^"),
        ("混合, 物", (4, 5), "混合, 物", "      ^^"),
        ("e\u0301, b", (4, 5), "e\u0301, b", "   ^"),
        ("a\x1b[31m, b", (8, 9), "a\ufffd[31m, b", "        ^"),
    ],
)
def test_caret_stands_under_the_place(text, position, line, carets):
    error = point_at(text, position, "wrong: expected right")
    assert isinstance(error, PatternError)
    assert str(error) == f"wrong: expected right\n  {line}\n  {carets}"


def test_of_a_long_line_the_part_around_the_place_is_shown():
    _, line, carets = str(point_at("a, " * 100 + "wrong" + ", b" * 100, (300, 305), "")).split("\n")
    assert line.startswith("  …")
    assert line.endswith("…")
    assert line[carets.index("^") : len(carets)] == "wrong"
    assert len(line) < 110


def test_message_stays_on_one_line_and_sends_nothing_to_the_terminal():
    assert str(point_at("a", (0, 1), "no\n\x1b[31m")).split("\n")[0] == "no \ufffd[31m"


# ---- trees built in Python ---------------------------------------------------------------------------------------


def test_a_tree_is_canonical_from_its_construction():
    assert Pattern((Repeat((layer("a"), Repeat((layer("b"),), 1)), 1),)) == Pattern((layer("a"), layer("b")))
    assert Call("dot_product", (("max-lag", [1, [2]]),)) == Call("dot-product", (("max_lag", (1, (2,))),))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Call("a b"), "'a b'" + NO_NAME),
        (lambda: Call("a", (("3x", 1),)), "'3x' is no option's name"),
        (lambda: Call("a", (("x", 1), ("x", 2))), "option 'x' is given twice"),
        (lambda: Call("a", (("x", float("nan")),)), "nan is no value of an option: expected True, False, None"),
        (lambda: Call("a", (("x", {1: 2}),)), "{1: 2} is no value of an option: expected True, False, None"),
        (lambda: Layer(()), "a layer has no mixer: expected one or more"),
        (lambda: Pattern(()), "there is no layer: expected one or more"),
        (lambda: Repeat((), 2), "there is no layer: expected one or more"),
        (lambda: Repeat((layer("a"),), 0), "layers cannot be repeated 0 times: expected 1 or more"),
        (lambda: Repeat((layer("a"),), 1025), "there are 1025 layers after expansion: expected at most 1024"),
        (lambda: Call("a" * 10_001), "the canonical form has 10001 characters: expected at most 10000"),
        (lambda: Pattern((layer("a" * 6_000),) * 2), "the canonical form has 12002 characters"),
    ],
)
def test_a_tree_that_no_text_gives_cannot_be_built(build, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        build()


def test_importing_the_language_loads_neither_lark_nor_torch():
    program = (
        "import sys, zoo.plugin.pattern; sys.exit(bool({'lark', 'torch', 'zoo.plugin.registry'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_reading_a_pattern_does_not_load_torch():
    program = "import sys, zoo.plugin.pattern; zoo.plugin.pattern.parse('a'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ---- the page ----------------------------------------------------------------------------------------------------


def blocks(language):
    found = re.findall(rf"^```{language}\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("line", [line for block in blocks("pattern") for line in block.split("\n")])
def test_example_of_the_page_is_a_pattern(line):
    assert parse(line.split("  #")[0])


@pytest.mark.parametrize("line", blocks("canonical")[0].split("\n"))
def test_canonical_form_of_the_page(line):
    written, canonical = line.split("->")
    assert str(parse(written)) == canonical.strip()


@pytest.mark.parametrize("block", blocks("error"))
def test_error_of_the_page(block):
    assert error_of(block.split("\n")[1].removeprefix("  ")) == block


@pytest.mark.parametrize("pattern", re.findall(r"--mixer '([^']+)'", PAGE.read_text(encoding="utf-8")))
def test_command_of_the_page_has_a_pattern(pattern):
    assert str(parse(pattern)) == pattern


def test_python_of_the_page_gives_what_its_comments_show():
    (program,) = blocks("python")
    names = {}
    for line in filter(None, program.split("\n")):
        code, _, shown = line.partition("  #")
        if shown:
            assert repr(eval(code, names)) == shown.strip()
        else:
            exec(code, names)
