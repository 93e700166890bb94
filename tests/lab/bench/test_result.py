from dataclasses import replace

import pytest

from zoo.lab.bench.candidates import PLAIN
from zoo.lab.bench.result import Cell, failures

from .samples import bench, cell


def test_a_cell_counted_by_hand():
    made = cell("x", "forward", 256, 0.01)
    assert made.cost == pytest.approx(0.01)
    assert made.quartiles == pytest.approx((0.009, 0.011))
    assert made.spread == pytest.approx(0.2)
    assert made.tokens_per_second == pytest.approx(25600)
    assert made.roofline_fraction == pytest.approx(0.5)


def test_quartiles_lie_between_repeats():
    assert replace(Cell("x", "forward", 1), seconds=(4.0, 1.0, 2.0, 3.0)).quartiles == (1.75, 3.25)
    assert replace(Cell("x", "forward", 1), seconds=(4.0,)).quartiles == (4.0, 4.0)


def test_a_cell_without_figures_tells_none():
    empty = Cell("x", "forward", 256, failure="out of memory")
    assert (empty.cost, empty.quartiles, empty.tokens_per_second, empty.roofline_fraction, empty.spread) == (
        None,
    ) * 4 + (0.0,)


def test_memory_is_its_own_cost():
    made = cell("x", "memory", 256, 3)
    assert (made.cost, made.quartiles, made.tokens_per_second) == (3 * 2**20, None, None)


def test_growth_and_ratio():
    made = bench()
    assert made.growth("train", PLAIN).exponent == pytest.approx(2)
    assert made.growth("train", "correlation*2").upper == pytest.approx(1)
    assert made.growth("decode", PLAIN, of_state=True).exponent == pytest.approx(0)
    # Two layers are compared with two of plain attention, which at 1,024 take four times as long as these.
    ratios = [made.ratio(made.row("train", "correlation*2")[index]) for index in range(3)]
    assert ratios == pytest.approx([1 / 2, 1 / 4, 1 / 8])


def test_a_length_that_failed_takes_no_part_in_growth():
    made = bench(lengths=(256, 512, 1024, 2048))
    made.cells[-1] = Cell("correlation*2", "memory", 2048, failure="out of memory")
    assert made.growth("memory", "correlation*2").exponent == pytest.approx(1, abs=1e-3)
    assert made.ratio(made.cells[-1]) is None


def test_failures_that_are_alike_share_a_line():
    made = bench(kinds=("forward",))
    made.unbuilt["nonsense"] = "no mixer is named 'nonsense'"
    made.cells += [Cell("correlation*2", "forward", length, failure="it broke") for length in (2048, 4096)]
    assert failures(made) == [
        "nonsense: not built: no mixer is named 'nonsense'",
        "correlation*2, forward at 2,048, 4,096: it broke",
    ]
    assert made.failed
    assert not bench().failed
    assert failures(bench()) == []


def test_the_widest_cell():
    made = bench(kinds=("forward", "memory"))
    made.cells.insert(1, replace(cell("correlation*2", "forward", 128, 1.0), seconds=(1.0, 1.0, 4.0)))
    assert made.widest is made.cells[1]
