"""Languages are those of random automata as they are published, and no language that is tested is trained on."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.tasks.in_context.automata import Automata, RandomAutomata, draw_automata, languages

from .chance import counted, excess

PUBLISHED = {"length": 512, "states": 12, "letters": 18, "edges": 3, "strings": 19, "string_length": 49}


def drawn(rows, seed=0, **options):
    return draw_automata(np.random.default_rng(seed), rows, **{"states": 8, "letters": 18, "edges": 3, **options})


def tables(automata):
    """For each automaton what its states allow: a dictionary from symbols to states, a state."""
    return [
        [dict(list(zip(*state, strict=True))[:count]) for *state, count in zip(*automaton, strict=True)]
        for automaton in zip(*(array.tolist() for array in automata), strict=True)
    ]


def reachable(table):
    found = [0]
    for state in found:
        found += sorted(set(table[state].values()) - set(found))
    return found


def strings_from(table, state, length):
    """All strings up to that length."""
    if not length:
        return frozenset({""})
    return frozenset({""}).union(
        chr(97 + symbol) + rest
        for symbol, following in table[state].items()
        for rest in strings_from(table, following, length - 1)
    )


def different_states(table):
    """How many states are left when the equivalent ones are merged: pairs are marked until no more can be."""
    states = reachable(table)
    pairs = [(one, other) for one in states for other in states if one < other]
    marked = {pair for pair in pairs if table[pair[0]].keys() != table[pair[1]].keys()}
    for _ in states:
        marked |= {
            (one, other)
            for one, other in pairs
            if table[one].keys() == table[other].keys()
            and any(tuple(sorted((table[one][s], table[other][s]))) in marked for s in table[one])
        }
    return sum(all((other, one) in marked for other in states if other < one) for one in states)


def test_states_have_the_same_number_where_they_begin_the_same_strings():
    automata = drawn(300, states=4, letters=3, edges=2)
    numbers, strings_of, number_of = languages(automata).tolist(), {}, {}
    for table, row in zip(tables(automata), numbers, strict=True):
        for state, number in enumerate(row):
            strings = strings_from(table, state, 8)
            assert strings_of.setdefault(number, strings) == strings
            assert number_of.setdefault(strings, number) == number
    assert 100 < len(strings_of) < 1100  # of 1200 states, some are equivalent to some of other automata


def test_a_language_is_counted_once_however_it_is_written():
    automata = drawn(100)
    order = np.concatenate([[0], 1 + np.random.default_rng(1).permutation(7)])  # the first state stays the first
    renamed = Automata(
        automata.symbols[:, order], np.argsort(order)[automata.following[:, order]], automata.counts[:, order]
    )
    assert np.array_equal(languages(renamed)[:, 0], languages(automata)[:, 0])
    reversed_edges = automata.symbols.copy(), automata.following.copy()
    full = automata.counts == 3
    for array in reversed_edges:
        array[full] = array[full][:, ::-1]
    assert np.array_equal(languages(Automata(*reversed_edges, automata.counts)), languages(automata))


def test_as_many_states_differ_as_the_smallest_automaton_has():
    automata = drawn(1000, states=6, letters=5)
    merged = 0
    for table, numbers in zip(tables(automata), languages(automata), strict=True):
        states = reachable(table)
        different = different_states(table)
        assert len(set(numbers[states].tolist())) == different
        merged += len(states) - different
    assert merged > 10  # some have equivalent states


def published(chooser, *, states=8, letters=18, edges=3):
    """An automaton as the published generator draws it, with Python's generator."""
    size = chooser.randint(edges + 1, states)
    alphabet = chooser.sample(range(letters), chooser.randint(edges + 1, letters))
    table = []
    for state in range(size):
        count = chooser.randint(1, edges)
        others = [other for other in range(size) if other != state]
        table.append(dict(zip(chooser.sample(alphabet, count), chooser.sample(others, count), strict=True)))
    return table


def sizes(table):
    """States that can be reached, and symbols and edges of these."""
    states = reachable(table)
    return len(states), len({s for state in states for s in table[state]}), sum(len(table[s]) for s in states)


@pytest.fixture(scope="module")
def measured():
    """Sizes of automata as published, of ours, and of ours with other options."""
    chooser = random.Random(0)
    theirs = [published(chooser) for _ in range(5000)]
    return [list(map(sizes, part)) for part in (theirs, tables(drawn(5000)), tables(drawn(5000, states=7, letters=16)))]


@pytest.mark.parametrize("what", range(3), ids=["states", "symbols", "edges"])
def test_automata_are_as_large_as_the_published_ones(what, measured):
    theirs, ours, others = (Counter(size[what] for size in part) for part in measured)
    common = [size for size in theirs if ours[size] + theirs[size] >= 20]
    counts = np.array([[ours[size], theirs[size]] for size in common])
    share = counts.sum(axis=1) / counts.sum()
    both = sum(excess(column, share) for column in counts.T)  # two samples of one law
    assert abs(both) < 6
    assert excess([others[size] for size in common], counts[:, 1] / counts[:, 1].sum()) > 10


def test_edges_are_drawn_evenly():
    automata = drawn(4000)
    assert abs(excess(counted(automata.counts, 4)[1:], np.full(3, 1 / 3))) < 4
    assert abs(excess(counted(automata.symbols[:, 0, 0], 18), np.full(18, 1 / 18))) < 4
    assert (automata.following != np.arange(8)[:, None]).all()
    for edges in (automata.symbols, automata.following):
        assert (np.diff(np.sort(edges, axis=2), axis=2) > 0).all()


def replayed(task, seed, examples, *, test):
    """Examples with the tables of their automata, which are drawn first."""
    automata = task._draw_languages(np.random.default_rng(seed), examples, test=test)
    return task.draw(np.random.default_rng(seed), examples, length=task.length, test=test), tables(automata)


@pytest.mark.parametrize("test", [False, True])
def test_strings_are_walks_and_what_the_state_allows_is_accepted(test):
    task = RandomAutomata(length=90)
    examples, automata = replayed(task, 3, 60, test=test)
    for i, table in enumerate(automata):
        state, string = 0, 1
        for time, token in enumerate(examples.inputs[i].tolist()):
            if token == task.separator:
                state, string = 0, string + 1
            elif token != task.filler:
                state = table[state][token]
            following = examples.inputs[i, time + 1] if time < 89 else task.filler
            if following >= task.letters:
                assert examples.targets[i, time] == IGNORE
                assert not examples.accepted[i, time].any()
                assert examples.slices["string"][i, time] == 0
            else:
                assert examples.targets[i, time] == following
                assert np.flatnonzero(examples.accepted[i, time]).tolist() == sorted(table[state])
                assert examples.slices["string"][i, time] == string


def test_no_language_is_both_trained_on_and_tested():
    task = RandomAutomata(states=3, letters=4, edges=2)
    parts = [task._draw_languages(np.random.default_rng(seed), 2000, test=bool(seed)) for seed in (0, 1)]
    train, test = ({strings_from(table, 0, 6) for table in tables(part)} for part in parts)
    assert len(train) > 500
    assert len(test) > 50
    assert not train & test
    tested = [strings_from(table, 0, 6) in test for table in tables(drawn(2000, seed=2, states=3, letters=4, edges=2))]
    assert abs(np.mean(tested) - 1 / 8) < 0.03


def test_the_smallest_options_have_languages_for_both():
    for test in (False, True):
        RandomAutomata(states=3, letters=3, edges=2).draw(np.random.default_rng(0), 50, length=9, test=test)


def test_every_edge_is_as_likely():
    examples = RandomAutomata().draw(np.random.default_rng(0), 1000, length=128, test=False)
    asked = examples.targets != IGNORE
    accepted, targets = examples.accepted[asked], examples.targets[asked]
    number = np.cumsum(accepted, axis=1)[np.arange(len(targets)), targets] - 1
    for count in (2, 3):
        assert abs(excess(counted(number[accepted.sum(axis=1) == count], count), np.full(count, 1 / count))) < 4
    assert set(accepted.sum(axis=1).tolist()) == {1, 2, 3}


def test_strings_are_as_many_and_as_long_as_drawn_evenly():
    task = RandomAutomata(length=300)
    examples = task.draw(np.random.default_rng(0), 3000, length=300, test=False)
    text = ["".join(map(task.symbol, row)).rstrip("·").split("|") for row in examples.inputs.tolist()]
    assert abs(excess(counted([len(strings) for strings in text], 20)[10:], np.full(10, 1 / 10))) < 4
    assert abs(excess(counted([len(s) for strings in text for s in strings], 13)[1:], np.full(12, 1 / 12))) < 4
    assert examples.slices["string"].max() == 19


def contexts(last, levels):
    """The last symbols, from as many as counted down to none."""
    return [last[len(last) - used :] for used in reversed(range(min(levels, len(last) + 1)))]


def test_what_followed_the_same_symbols_solves_it():
    """Counts of what followed the last symbols of the string, as many of them as have come before, up to four."""
    task = RandomAutomata()
    examples = task.draw(np.random.default_rng(0), 200, length=128, test=True)
    correct = [[], []]
    for row, accepted, targets in zip(examples.inputs.tolist(), examples.accepted, examples.targets, strict=True):
        for levels, of in zip((2, 5), correct, strict=True):
            followers, last = {}, ("|",)
            for time, token in enumerate(row):
                if token < task.letters:
                    for context in contexts(last, levels):
                        followers.setdefault(context, Counter())[token] += 1
                last = ("|",) if token >= task.letters else (*last, token)
                if targets[time] != IGNORE:
                    longest = next(context for context in contexts(last, levels) if context in followers)
                    of.append(accepted[time, followers[longest].most_common(1)[0][0]])
    last_symbol, last_four = map(np.mean, correct)
    assert last_four >= task.solved + 0.01 > last_symbol + 0.05


def test_the_data_are_the_same_everywhere():
    data, published = TaskData(RandomAutomata(), "automata"), TaskData(RandomAutomata(**PUBLISHED), "automata")
    test = next(data.validation_batches(context=128, batch=16))
    batches = data.draw(context=128, batch=16, step=0), test, published.draw(context=512, batch=16, step=0)
    assert [sha256(batch) for batch in batches] == [
        "d1880737423776a1971a38c4b11ae1bf0f245133a1ea44433176befbfbccc475",
        "ac7f1ef0e9a4704c7ba767f8d4b47f93f9a956080e5f5adc508f656b423a6c48",
        "4154e45a80edead10343c4b709cfec6a396a038a815794b4328a9bcb07b77136",
    ]


def sha256(batch):
    return hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()


def test_symbols():
    assert [RandomAutomata().symbol(token) for token in (0, 17, 18, 19)] == ["a", "r", "|", "·"]
    assert [RandomAutomata(letters=30).symbol(token) for token in (0, 29, 30, 31)] == ["s0", "s29", "|", "·"]
