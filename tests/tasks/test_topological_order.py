"""Graphs are drawn as the published generator does it, and what is accepted is what some order has next."""

import hashlib
import random
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.tasks.depth import graphs
from zoo.tasks.depth.topological_order import TopologicalOrder

from .chance import counted, excess
from .solvers.depth import topological_choices


def drawn(examples=2000, *, test=False, **options):
    task = TopologicalOrder(**options)
    return task, task.draw(np.random.default_rng(0), examples, length=task.length, test=test)


def problems_of(task, examples):
    """For each example its edges, the node that is asked for, and the answer with its first position."""
    for tokens, targets in zip(examples.inputs, examples.targets, strict=True):
        begin = np.argmax(tokens == task.query)
        edges = [(int(parent), int(child)) for parent, child in tokens[:begin].reshape(-1, 2)]
        yield edges, int(tokens[begin + 1]), targets[targets != IGNORE].tolist(), int(begin) + 2


def ancestors_of(edges, asked):
    """By following edges until nothing is added."""
    found = {asked}
    for _ in edges:
        found |= {parent for parent, child in edges if child in found}
    return found


@pytest.mark.parametrize("parents", [1, 2, 3])
def test_accepted_is_what_any_order_has_next(parents):
    task, examples = drawn(60, words=6, length=37, parents=parents)
    for row, (edges, asked, answer, begin) in enumerate(problems_of(task, examples)):
        members = ancestors_of(edges, asked)
        needed = [(parent, child) for parent, child in edges if child in members]
        orders = [
            order
            for order in permutations(members)
            if all(order.index(parent) < order.index(child) for parent, child in needed)
        ]
        assert tuple(answer) in orders
        accepted = np.zeros((37, task.vocab_size), dtype=bool)
        for place in range(len(answer)):
            following = {order[place] for order in orders if list(order[:place]) == answer[:place]}
            accepted[begin + place, sorted(following)] = True
        assert np.array_equal(examples.accepted[row], accepted)
        assert np.array_equal(examples.slices["choices"][row], accepted.sum(axis=1))
        place = np.zeros(37, dtype=int)
        place[begin : begin + len(answer)] = np.arange(1, len(answer) + 1)
        assert np.array_equal(examples.slices["place"][row], place)
        assert np.array_equal(examples.targets[row] != IGNORE, place > 0)
        assert examples.inputs[row, begin + 1 : begin + len(answer)].tolist() == answer[:-1]
        assert (examples.inputs[row, begin + len(answer) :] == task.filler).all()


def published(generator, *, most, parents):
    """A problem by the published rules, one at a time: what `measured` takes."""
    sizes = range(3, most + 1)
    size = generator.choices(sizes, weights=[1 / (n + most**0.5) for n in sizes])[0]
    children, edges = [0] * size, []
    for node in range(generator.randint(1, (size - 1) // 4 + 1), size):
        able = [earlier for earlier in range(node) if children[earlier] < parents]
        for parent in generator.sample(able, generator.randint(1, min(len(able), parents))):
            children[parent] += 1
            edges.append((parent, node))
    return edges, size - 1


def depth_of(edges, asked):
    """By steps up from the node that is asked for, to the first that has no parent."""
    level, steps = {asked}, 0
    while all(any(child == node for _, child in edges) for node in level):
        level, steps = {parent for parent, child in edges if child in level}, steps + 1
    return steps


def measured(edges, asked):
    children = Counter(parent for parent, _ in edges)
    return {
        "edges": len(edges),
        "members": len(ancestors_of(edges, asked)),
        "depth": depth_of(edges, asked),
        "most children": max(children.values()),
    }


def test_graphs_are_like_those_of_the_published_generator():
    task, examples = drawn(4000, words=9, parents=3, length=55)
    generator = random.Random(0)
    theirs = [measured(*published(generator, most=9, parents=3)) for _ in range(4000)]
    ours = [measured(edges, asked) for edges, asked, _, _ in problems_of(task, examples)]
    assert examples.slices["depth"].tolist() == [one["depth"] for one in ours]
    for name in theirs[0]:
        first, second = (counted([one[name] for one in many], 25) for many in (ours, theirs))
        there = first + second > 0
        # two samples of one law: the difference of the counts has the variance of their sum
        distance = ((first - second)[there] ** 2 / (first + second)[there]).sum()
        freedom = there.sum() - 1
        assert distance < freedom + 4 * (2 * freedom) ** 0.5, name
    other = [measured(*published(generator, most=9, parents=2)) for _ in range(4000)]
    first, second = (counted([one["edges"] for one in many], 25)[2:18] for many in (ours, other))
    assert ((first - second) ** 2 / (first + second)).sum() > 200


def test_graphs_keep_to_their_limits():
    sizes = np.random.default_rng(1).integers(3, 13, size=3000)
    graph = graphs.draw_graphs(np.random.default_rng(0), sizes, 3)
    assert not np.triu(graph.any(axis=0)).any()  # a parent is an earlier node
    assert graph.sum(axis=1).max() == graph.sum(axis=2).max() == 3
    exists = np.arange(12) < sizes[:, None]
    assert not (graph.any(axis=2) & ~exists).any()
    sources = (exists & ~graph.any(axis=2)).sum(axis=1)
    assert (sources[sizes < 5] == 1).all()
    for size, most in ((5, 2), (8, 2), (9, 3), (12, 3)):
        assert abs(excess(counted(sources[sizes == size], most + 1)[1:], np.full(most, 1 / most))) < 4
    assert [graphs.most_edges(nodes, 3) for nodes in (1, 2, 3, 4, 5)] == [0, 1, 3, 6, 9]


def test_an_order_is_drawn_from_its_end():
    graph = np.zeros((6000, 4, 4), dtype=bool)
    graph[:, 2, 0] = graph[:, 3, 2] = graph[:, 3, 1] = True  # 0 → 2 → 3, 1 → 3
    orders = graphs.draw_orders(np.random.default_rng(0), graph, np.ones((6000, 4), dtype=bool))
    counts = Counter(map(tuple, orders.tolist()))
    assert set(counts) == {(0, 2, 1, 3), (0, 1, 2, 3), (1, 0, 2, 3)}
    ours = [counts[0, 2, 1, 3], counts[0, 1, 2, 3], counts[1, 0, 2, 3]]
    assert abs(excess(ours, [1 / 2, 1 / 4, 1 / 4])) < 4
    some = np.tile([True, False, True, False], (6000, 1))
    assert np.unique(graphs.draw_orders(np.random.default_rng(0), graph, some), axis=0).tolist() == [[0, 2, -1, -1]]


def test_words_and_the_order_of_edges_are_drawn_evenly():
    _, examples = drawn(4000, words=3, parents=1, length=9, test=True)
    lines = Counter(tuple(tokens[:4]) for tokens in examples.inputs.tolist())  # two edges, a → b → c, in both orders
    assert len(lines) == 12
    assert abs(excess(list(lines.values()), np.full(12, 1 / 12))) < 4


@pytest.mark.parametrize(("words", "parents"), [(40, 1), (40, 2), (40, 4), (5, 4)])
def test_the_test_has_the_largest_graph_that_always_fits(words, parents):
    for length in range(11, 100, 4):
        longest = max(
            n
            for n in range(3, words + 1)
            if 2 * sum(min(parents, node) for node in range(n)) + 3 + n - 1 <= length or n == 3
        )
        assert TopologicalOrder(words=words, parents=parents)._largest_graph(length) == longest
    assert TopologicalOrder()._largest_graph(128) == 16 == TopologicalOrder().words


@pytest.fixture(scope="module")
def data():
    return TaskData(TopologicalOrder(), "topological-order")


def test_any_accepted_word_is_correct_and_no_other(data):
    batch = next(data.validation_batches(context=128, batch=60))
    choices = [topological_choices([data.task.symbol(token) for token in tokens]) for tokens in batch.inputs.tolist()]
    rows, times = np.divmod(batch.where.numpy(), 128)
    targets = batch.at_predictions(batch.targets)
    for token in range(data.task.vocab_size):
        correct = batch.are_correct(targets * 0 + token, targets)
        word = data.task.symbol(token)
        assert correct.tolist() == [word in choices[row][time] for row, time in zip(rows, times, strict=True)]


def test_a_guess_from_counts_is_often_right():
    task, examples = drawn(1000, test=True)
    row, time = np.nonzero(examples.targets != IGNORE)
    guesses = task.guess(examples.inputs)
    assert examples.accepted[row, time, guesses[row, time]].mean() == pytest.approx(0.687, abs=0.015)
    for one, (edges, asked, answer, begin) in enumerate(problems_of(task, examples)):
        parents, children = Counter(parent for parent, _ in edges), Counter(child for _, child in edges)
        for said in range(len(answer)):
            left = {asked, *parents} - {*answer[:said]}
            scores = {word: parents[word] - 3 * children[word] / (1 + said) for word in left}
            assert scores[guesses[one, begin + said]] == max(scores.values())


def test_symbols():
    task = TopologicalOrder(words=3)
    assert " ".join(map(task.symbol, range(task.vocab_size))) == "w0 w1 w2 ⟨query⟩ ⟨answer⟩ ·"


def test_the_first_batches_are_those_that_were_recorded(data):
    batch = data.draw(context=128, batch=16, step=0, seed=0)
    first = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    assert f"{first[:16]} {data.sha256[:16]}" == "d5336e41ff1a61f2 7ab174eb3ba6450e"
