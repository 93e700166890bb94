import matplotlib as mpl
import pytest

from zoo.train.picture import look, new_figure, plain_axes, render, save_picture, svg_element


def draw():
    figure = new_figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [3, 4], label="$x^2$ <b>")
    axes.legend()
    plain_axes(axes)
    return figure


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_picture_is_the_same_file_whatever_the_reader_s_matplotlib(form):
    first = render(draw, form)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert render(draw, form) == first
    assert b"Matplotlib" not in first


def test_a_picture_is_written_twice(tmp_path):
    svg, png = save_picture(draw, tmp_path / "a.b")
    assert (svg.name, png.name) == ("a.b.svg", "a.b.png")
    assert svg.read_bytes() == render(draw, "svg")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_an_element_stands_in_a_page_and_names_are_no_formulas():
    element = svg_element(draw)
    assert element.startswith("<svg")
    assert element.rstrip().endswith("</svg>")
    assert "<!-- $x^2$ &lt;b&gt; -->" in element
    with mpl.rc_context({"text.parse_math": True}):
        assert svg_element(draw) == element


def test_many_things_look_different():
    looks = [look(index) for index in range(308)]
    assert len(set(looks)) == 308
    assert look(308) == look(0)
    assert len({each.color for each in looks[:7]}) == len({each.marker for each in looks[:7]}) == 7
