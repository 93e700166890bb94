import re
from functools import partial

from zoo.train.picture import new_figure, svg_element


def plot(values):
    figure = new_figure()
    figure.add_subplot().plot(values, marker="o")
    return figure


def names(svg):
    return re.findall(r' id="([^"]*)"', svg)


def references(svg):
    return re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)


def test_two_pictures_in_a_page_have_no_name_in_common():
    first, second = svg_element(partial(plot, [1, 2])), svg_element(partial(plot, [1, 3]))
    assert len(names(first)) > 3
    assert not set(names(first)) & set(names(second))


def test_what_is_referred_to_is_there_and_nothing_else_has_a_name():
    svg = svg_element(partial(plot, [1, 2]))
    assert len(set(names(svg))) == len(names(svg))
    assert set(names(svg)) == set(references(svg))
    assert any("clip-path" in line for line in svg.splitlines())


def test_the_same_picture_is_the_same_to_the_byte():
    assert svg_element(partial(plot, [1, 2])) == svg_element(partial(plot, [1, 2]))
