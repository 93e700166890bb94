import json

import pytest

from zoo.cli.output import duration, print_json, print_lines, print_table, printable


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03"), (float("nan"), ""), (float("inf"), "")],
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown


def test_printable_keeps_text_and_lines():
    assert printable("a\tb\né\x07\x1b\r\x9b") == "a\tb\né\ufffd\ufffd\ufffd\ufffd"


def test_json_has_no_other_word_for_what_is_no_number(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": (True, "NaN", None)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": [True, "NaN", None]}


def test_a_table_off_a_terminal_is_aligned_and_never_wrapped(capsys):
    print_table(("a", "long head"), [("x" * 200, "y"), ("z", "")])
    assert capsys.readouterr().out.splitlines() == ["a".ljust(202) + "long head", "x" * 200 + "  y", "z"]


def test_lines_stand_behind_their_labels(capsys):
    print_lines({"a": "first", "": "second"}, {"long": "x" * 200})
    assert capsys.readouterr().out.splitlines() == ["", "a     first", "      second", "", f"long  {'x' * 200}"]
