import pytest
import torch

from zoo import Panel, TokenMixer


def panel(values, **changes):
    axes = changes.pop("axes", ("n", "row", "column")[-values.ndim :] if isinstance(values, torch.Tensor) else ("n",))
    return Panel("title", "Reading.", values, "share", axes, **changes)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (16, 1, 1)])
def test_values_of_one_to_three_axes_make_a_panel(shape):
    made = panel(torch.ones(shape))
    assert made.values.shape == shape
    assert made.ticks == ()


@pytest.mark.parametrize(
    ("values", "changes", "words"),
    [
        ([1, 2], {}, "values should be a tensor of real numbers, not list"),
        (torch.ones(2, dtype=torch.complex64), {}, "real numbers"),
        (torch.tensor(1.0), {"axes": ()}, "with a number at least"),
        (torch.ones(0), {}, "with a number at least"),
        (torch.ones(1, 1, 1, 1), {"axes": "abcd"}, r"the shape is \(1, 1, 1, 1\)"),
        (torch.ones(17, 1, 1), {}, "at most 1,048,576 numbers and 16 maps"),
        (torch.empty(1025, 1024), {}, "at most 1,048,576 numbers"),
        (torch.ones(2, 3), {"axes": ("row",)}, r"axes=\('row',\) should name the 2 axes of values of shape \(2, 3\)"),
        (torch.ones(2, 3), {"ticks": (("a",), ())}, r"ticks of \[1, 0\] names do not fit values of shape \(2, 3\)"),
        (torch.ones(2, 3), {"ticks": (("a", "b"),)}, r"ticks of \[2\] names do not fit"),
        (torch.ones(2, 3), {"ticks": ((), (), ("a",))}, r"ticks of \[0, 0, 1\] names do not fit"),
        (torch.ones(3), {"lines": True}, "lines need values of two axes"),
    ],
)
def test_what_is_no_panel_is_refused(values, changes, words):
    with pytest.raises(ValueError, match=words):
        panel(values, **changes)


@pytest.mark.parametrize("field", [0, 1, 3])
def test_texts_have_to_be_texts(field):
    given = ["title", "Reading.", torch.ones(2), "share", ("n",)]
    given[field] = None
    with pytest.raises(ValueError, match="should be a text, not None"):
        Panel(*given)


def test_a_mixer_shows_nothing_unless_it_says_what():
    assert TokenMixer(4).panels(torch.zeros(1, 2, 4)) == ()
