import json
import math

import pytest

from zoo.files.strict_json import to_json


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
