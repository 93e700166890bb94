import re
from functools import partial

import matplotlib as mpl
import pytest

from zoo.pages.picture import look, new_figure, plain_axes, render, save_picture, svg_element

pytestmark = pytest.mark.pictures


def draw():
    figure = new_figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [3, 4], label="$x^2$ <b>")
    axes.legend()
    plain_axes(axes)
    return figure


@pytest.mark.slow
@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_picture_is_the_same_file_whatever_the_reader_s_matplotlib(form):
    first = render(draw, form)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert render(draw, form) == first
    assert b"Matplotlib" not in first


@pytest.mark.slow
def test_a_picture_is_written_twice(tmp_path):
    svg, png = save_picture(draw, tmp_path / "a.b")
    assert (svg.name, png.name) == ("a.b.svg", "a.b.png")
    assert svg.read_bytes() == render(draw, "svg")
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_element_stands_in_a_page_and_names_are_no_formulas():
    element = svg_element(draw)
    assert element.startswith("<svg")
    assert element.rstrip().endswith("</svg>")
    assert "<!-- $x^2$ &lt;b&gt; -->" in element
    with mpl.rc_context({"text.parse_math": True}):
        assert svg_element(draw) == element


def test_a_picture_in_a_page_is_no_larger_than_its_size_in_inches_allows():
    widths = []
    for inches in (3, 6):
        element = svg_element(lambda inches=inches: new_figure(inches, 2))
        head = element.partition(">")[0]
        assert "height=" not in head
        widths.append(int(re.search(r'style="max-width: (\d+)px"', head)[1]))
    assert widths[1] == pytest.approx(2 * widths[0], abs=1)


def test_many_things_look_different():
    looks = [look(index) for index in range(308)]
    assert len(set(looks)) == 308
    assert look(308) == look(0)
    assert len({each.color for each in looks[:7]}) == len({each.marker for each in looks[:7]}) == 7


def plot(values):
    figure = new_figure()
    figure.add_subplot().plot(values, marker="o")
    return figure


def names(svg):
    return re.findall(r' id="([^"]*)"', svg)


def references(svg):
    return re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)


@pytest.mark.slow
def test_two_pictures_in_a_page_have_no_name_in_common():
    first, second = svg_element(partial(plot, [1, 2])), svg_element(partial(plot, [1, 3]))
    assert len(names(first)) > 3
    assert not set(names(first)) & set(names(second))


def test_what_is_referred_to_is_there_and_nothing_else_has_a_name():
    svg = svg_element(partial(plot, [1, 2]))
    assert len(set(names(svg))) == len(names(svg))
    assert set(names(svg)) == set(references(svg))
    assert any("clip-path" in line for line in svg.splitlines())


@pytest.mark.slow
def test_the_same_picture_is_the_same_to_the_byte():
    assert svg_element(partial(plot, [1, 2])) == svg_element(partial(plot, [1, 2]))
