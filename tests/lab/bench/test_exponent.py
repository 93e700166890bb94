import math

import pytest

from zoo.lab.bench.result import exponent, upper_exponent

LENGTHS = [256, 512, 1024, 2048, 4096, 8192]


@pytest.mark.parametrize("power", [0, 0.5, 1, 2, -1])
def test_of_a_pure_power_it_is_the_power(power):
    costs = [3e-5 * length**power for length in LENGTHS]
    assert exponent(LENGTHS, costs) == pytest.approx(power, abs=1e-12)
    assert upper_exponent(LENGTHS, costs) == pytest.approx(power, abs=1e-12)


def test_least_squares_by_hand():
    # In powers of two: lengths 0, 1, 2 and costs 0, 3, 4 have the slope ((-1)(0) + (0)(3) + (1)(4)) / 2.
    assert exponent([1, 2, 4], [1, 8, 16]) == pytest.approx(2)


def test_the_upper_half_leaves_out_what_overhead_flattens():
    costs = [1.0, 1.0, 1.0, 1.0, 4.0, 16.0]
    assert upper_exponent(LENGTHS, costs) == pytest.approx(2)
    assert upper_exponent([1, 2, 4, 8, 16], [9, 9, 1, 2, 4]) == pytest.approx(1)
    assert exponent(LENGTHS, costs) < 1


def test_two_lengths_tell_no_growth():
    assert exponent([1, 2], [1, 2]) is None
    assert upper_exponent([1, 2], [1, 2]) is None


def test_nothing_has_no_growth():
    assert exponent([1, 2, 4], [0, 0, 0]) is None
    assert math.isclose(exponent([1, 2, 4], [7, 7, 7]) + 1, 1)
