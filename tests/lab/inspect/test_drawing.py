import numpy as np
import pytest
import torch

from zoo import Panel
from zoo.lab.inspect.drawing import draw
from zoo.pages.picture import svg_element

pytestmark = pytest.mark.pictures


def panel(values, axes, **more):
    return Panel("title", "Reading.", values, "share (nats)", axes, **more)


def images(figure):
    return [image for axes in figure.axes for image in axes.get_images()]


def test_bars_with_names_lie_in_the_order_of_the_values():
    figure = draw(panel(torch.tensor([1.0, -2.0]), ("part",), ticks=(("first", "second"),)))
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [1.0, -2.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share (nats)", "part")
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_bars_without_names_stand_and_are_counted():
    (axes,) = draw(panel(torch.arange(8.0), ("expert",))).axes
    assert [bar.get_height() for bar in axes.patches] == list(range(8))
    assert set(range(8)) <= set(axes.get_xticks())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("expert", "share (nats)")


def test_lines_have_a_legend_and_look_different():
    values = torch.arange(6.0).view(2, 3)
    figure = draw(panel(values, ("part", "position (token)"), lines=True, ticks=(("a", "b"), ())))
    lines = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == values.tolist()
    assert len({(line.get_linestyle(), line.get_color(), line.get_marker()) for line in lines}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "limits"), [([[0.0, 2.0]], (0, 2)), ([[-3.0, 2.0]], (-3, 3)), ([[0.0, 0.0]], (0, 1))]
)
def test_the_colours_of_a_map_begin_at_zero_or_lie_around_it(values, limits):
    (image,) = images(draw(panel(torch.tensor(values), ("row", "column"))))
    assert image.get_clim() == limits


def test_maps_share_one_scale_and_are_told_apart():
    values = torch.arange(12.0).view(3, 2, 2)
    figure = draw(panel(values, ("head", "query", "key"), ticks=(("x", "y", "z"), (), ())))
    shown = images(figure)
    assert [np.asarray(image.get_array()).tolist() for image in shown] == values.tolist()
    assert {image.get_clim() for image in shown} == {(0.0, 11.0)}
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["head x", "head y", "head z"]


def test_small_maps_have_their_numbers_written_in():
    figure = draw(panel(torch.tensor([[0.5, float("inf")], [-0.00123, 0.0]]), ("row", "column")))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.5", "", "-0.0012", "0"]
    assert not draw(panel(torch.ones(20, 20), ("row", "column"))).axes[0].texts


def test_long_names_are_cut_and_many_are_thinned_out():
    names = [f"{'long' * 20}{place}" for place in range(100)]
    axes = draw(panel(torch.ones(100, 2), ("row", "column"), ticks=(names, ()))).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 50
    assert all(len(label) == 32 and label.endswith("…") for label in labels)


@pytest.mark.parametrize(("name", "rotation"), [("a", 0), ("a name that is long", 90)])
def test_names_that_would_overlap_stand_upright(name, rotation):
    names = [f"{name} {place}" for place in range(6)]
    axes = draw(panel(torch.ones(2, 6), ("row", "column"), ticks=((), names))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}


def test_nothing_finite_is_drawn_as_nothing():
    figure = draw(panel(torch.full((2, 2), float("nan")), ("row", "column")))
    assert images(figure)[0].get_clim() == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("values", [torch.tensor([1.0]), torch.ones(1, 1), torch.ones(2, 1, 1)])
def test_the_title_stands_above_a_picture_that_stands_alone(values):
    shown = panel(values, ("a", "b", "c")[: values.ndim])
    assert "<!-- 1.adjective: title -->" in svg_element(lambda: draw(shown, title="1.adjective: title"))
    assert "adjective" not in svg_element(lambda: draw(shown))
