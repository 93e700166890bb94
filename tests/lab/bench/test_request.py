import shlex

import pytest

from zoo.errors import UsageError
from zoo.lab.bench.request import Request, read_kinds, read_lengths


def test_lengths_are_sorted():
    assert read_lengths("1024, 256,4096") == (256, 1024, 4096)


@pytest.mark.parametrize("text", ["", "256,", "0", "-5", "1e3", "many", "256;512", "1.5"])
def test_a_length_that_is_none(text):
    with pytest.raises(UsageError, match=r"^`lengths`=.* should be whole numbers of tokens with commas, e\.g\. 256,"):
        read_lengths(text)


def test_kinds_keep_their_order():
    assert read_kinds("memory, forward") == ("memory", "forward")
    with pytest.raises(
        UsageError, match=r"^`kinds`='trian': .* \(did you mean 'train'\?\); choose of forward, train, "
    ):
        read_kinds("forward,trian")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"dim": 0}, "`dim`=0 should be 1 or more"),
        ({"repeats": 0}, "`repeats`=0 should be 1 or more"),
        ({"threads": -1}, "`threads`=-1 should be 1 or more"),
        ({"dim": 100, "heads": 3}, "`dim`=100 cannot be shared out among `heads`=3: choose a multiple"),
        ({"seed": -1}, "`seed`=-1 should be from 0 to 2147483647"),
        ({"precision": "fp16"}, "`precision`=fp16 should be fp32 or bf16"),
        ({"device": "mps"}, "`device`=mps should be auto, cpu or cuda"),
        ({"lengths": (8, 8)}, "`lengths`: 8 is given 2 times; once is enough"),
        ({"kinds": ("train", "train")}, "`kinds`: train is given 2 times; once is enough"),
        ({"patterns": ("a", "a")}, "`patterns`: a is given 2 times; once is enough"),
        ({"patterns": ()}, "`patterns`: give at least one"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(options, line):
    with pytest.raises(UsageError) as told:
        Request(**{"patterns": ("x",)} | options)
    assert str(told.value) == line


def test_the_command_asks_the_same():
    request = Request(patterns=("correlation*3, dot-product",), lengths=(8, 16), kinds=("train",), threads=2, seed=7)
    words = shlex.split(request.command)
    assert words[:3] == ["zoo", "bench", "correlation*3, dot-product"]
    flags = dict(zip(words[3::2], words[4::2], strict=True))
    assert flags == {
        "--lengths": "8,16",
        "--what": "train",
        "--dim": "128",
        "--heads": "4",
        "--residual": "pre-norm",
        "--batch": "1",
        "--device": "auto",
        "--precision": "fp32",
        "--threads": "2",
        "--repeats": "5",
        "--seed": "7",
    }
