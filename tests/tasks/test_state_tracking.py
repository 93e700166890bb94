"""The groups are groups, of the kinds that their word problems are about."""

import numpy as np
import pytest

from zoo.tasks.recall.delayed_copy import DelayedCopy
from zoo.tasks.recall.induction import Induction
from zoo.tasks.state.groups import GROUPS
from zoo.tasks.state.state_tracking import Parity, WordProblem

from .chance import counted, excess

SIZES = {"Z60": 60, "S3": 6, "S4": 24, "A5": 60, "S5": 120}


@pytest.fixture(params=SIZES)
def name(request):
    return request.param


@pytest.fixture
def product(name):
    return GROUPS[name]().product


def test_sizes(name, product):
    assert set(GROUPS) == set(SIZES)
    assert product.shape == (SIZES[name], SIZES[name])
    assert len(set(GROUPS[name]().names)) == SIZES[name] == WordProblem(group=name).vocab_size


def test_closure_identity_inverse_associativity(product):
    everything = np.arange(len(product))
    assert (np.sort(product, axis=0) == everything[:, None]).all()
    assert (np.sort(product, axis=1) == everything).all()
    assert (product[0] == everything).all()
    assert (product[:, 0] == everything).all()
    inverse = np.argmax(product == 0, axis=1)
    assert (product[everything, inverse] == 0).all()
    assert (product[inverse, everything] == 0).all()
    assert (product[product] == product[:, product]).all()  # (i j) k = i (j k)


def derived(product, members):
    """The subgroup that the commutators of the members generate."""
    inverse = np.argmax(product == 0, axis=1)
    i, j = np.meshgrid(members, members)
    found = np.unique(product[product[inverse[i], inverse[j]], product[i, j]])
    while len(more := np.unique(product[np.ix_(found, found)])) > len(found):
        found = more
    return found


def test_z60_is_abelian_and_cyclic():
    product = GROUPS["Z60"]().product
    assert (product == product.T).all()
    assert derived(product, np.arange(60)).tolist() == [0]
    powers, element = set(), 0
    for _ in range(60):
        element = product[element, 1]
        powers.add(int(element))
    assert len(powers) == 60


def test_a5_is_its_own_derived_subgroup():
    assert len(derived(GROUPS["A5"]().product, np.arange(60))) == 60


@pytest.mark.parametrize(("name", "sizes"), [("S3", [6, 3, 1]), ("S4", [24, 12, 4, 1])])
def test_s3_and_s4_are_solvable_and_not_abelian(name, sizes):
    product = GROUPS[name]().product
    series = [np.arange(len(product))]
    while len(series[-1]) > 1:
        series.append(derived(product, series[-1]))
    assert [len(members) for members in series] == sizes


def test_s5_is_not_solvable():
    group = GROUPS["S5"]()
    even = derived(group.product, np.arange(120))
    assert {group.names[element] for element in even} == set(GROUPS["A5"]().names)
    assert derived(group.product, even).tolist() == even.tolist()


def test_a_product_does_the_left_one_first():
    group = GROUPS["S5"]()
    swap, cycle = group.names.index("21345"), group.names.index("23451")
    # 1 goes to 2 by the swap, and 2 to 3 by the cycle
    assert group.names[group.product[swap, cycle]] == "32451"
    assert group.names[group.product[cycle, swap]] == "13452"


def test_elements_and_products_are_drawn_evenly(name):
    task = WordProblem(group=name, length=3)
    examples = task.draw(np.random.default_rng(0), 20_000, length=3, test=False)
    size = SIZES[name]
    for tokens in (examples.inputs, examples.targets[:, 2]):
        assert abs(excess(counted(tokens, size), np.full(size, 1 / size))) < 4


@pytest.mark.parametrize("task", [Parity(length=9), WordProblem(length=9), DelayedCopy(length=9, delay=2)])
def test_slices_by_position(task):
    examples = task.draw(np.random.default_rng(0), 3, length=9, test=False)
    assert examples.slices["position"].tolist() == [list(range(1, 10))] * 3


def test_longer_tests_are_two_and_four_times_as_long():
    assert (Parity().length, Parity().test_lengths) == (40, (80, 160))
    assert (WordProblem().length, WordProblem().test_lengths) == (32, (64, 128))


def test_delays_are_named_drawn_evenly_and_told_apart():
    task = DelayedCopy(delay=5, named=True, vocab=7)
    examples = task.draw(np.random.default_rng(0), 5000, length=64, test=False)
    assert task.vocab_size == 12
    assert (examples.inputs[:, 0] - 7 + 1 == examples.slices["delay"]).all()
    assert abs(excess(counted(examples.slices["delay"], 6)[1:], np.full(5, 1 / 5))) < 4
    assert examples.inputs[:, 1:].max() == 6
    assert (task.symbol(7), task.symbol(11), task.symbol(6)) == ("⟨1⟩", "⟨5⟩", "6")


def test_the_first_of_the_two_comes_anywhere_before_the_last_two():
    examples = Induction(length=10, vocab=30).draw(np.random.default_rng(0), 8000, length=10, test=False)
    place = np.argmax(examples.inputs == 29, axis=1)
    assert abs(excess(counted(place, 8), np.full(8, 1 / 8))) < 4
    distance = examples.slices["distance"]
    assert ((distance <= 9 - place) & (9 - place < 2 * distance)).all()
