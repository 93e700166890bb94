import json
import math

import pytest

from zoo.files.strict_json import from_json, to_json


def refuse(word):
    raise AssertionError(word)


@pytest.mark.parametrize("indent", [None, 2])
def test_json_has_no_other_word_for_what_is_no_number(indent):
    text = to_json({"a": math.nan, "b": [math.inf, 1.5], "c": (True, "NaN", -math.inf), "d": "\u00fc"}, indent=indent)
    assert json.loads(text, parse_constant=refuse) == {
        "a": None, "b": [None, 1.5], "c": [True, "NaN", None], "d": "\u00fc"
    }  # fmt: skip
    assert text.endswith("}\n")
    assert (text.count("\n") == 1) == (indent is None)


@pytest.mark.parametrize("text", ["{", "", b"\xff", "[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_what_cannot_be_read_is_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
    assert from_json('{"a": [1]}') == {"a": [1]}
