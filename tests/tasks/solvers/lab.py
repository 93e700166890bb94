"""Each task solved in plain Python from its definition alone: symbols read from left to right, to answers by position.

They know nothing of how the tasks draw: what they say is what a person would write under the symbols.
"""

from itertools import takewhile


def recall(symbols, **_):
    answers, value_of = {}, {}
    for time in range(0, len(symbols), 2):
        key, value = symbols[time], symbols[time + 1]
        if key[0] == "n":
            assert value[0] == "n"
            continue
        assert (key[0], value[0]) == ("k", "v")
        if key in value_of:
            assert value == value_of[key]
            answers[time] = value
        value_of[key] = value
    return answers


def fuzzy_recall(symbols, **_):
    answers, value_of, time = {}, {}, 0
    while symbols[time] == "·":
        time += 1
    while time < len(symbols):
        key = run_of("k", symbols[time:])
        value = run_of("v", symbols[time + len(key) :])
        if key in value_of:
            assert value == value_of[key]
            answers |= dict(enumerate(value, start=time + len(key) - 1))
        value_of[key] = value
        time += len(key) + len(value)
    return answers


def run_of(kind, symbols):
    """The symbols of a kind that come first, all different."""
    run = tuple(takewhile(lambda symbol: symbol[0] == kind, symbols))
    assert run
    assert len(set(run)) == len(run)
    return run


def selective_copying(symbols, *, copy=16, **_):
    end = symbols.index("⟨copy⟩")
    tokens = [symbol for symbol in symbols[:end] if symbol != "·"]
    assert len(tokens) == copy
    assert symbols[end + 1 :] == ["·"] * copy
    return dict(enumerate(tokens, start=end + 1))


def memorization(symbols, *, value_of, **_):
    answers = {}
    for time in range(0, len(symbols), 2):
        assert symbols[time + 1] == "⟨insert⟩"
        answers[time + 1] = value_of[symbols[time]]
    return answers


def compression(symbols, **_):
    assert symbols.index("⟨all⟩") == len(symbols) - 1
    return dict(enumerate(symbols[:-1]))


def induction(symbols, **_):
    first = symbols.index("⟨now⟩")
    assert symbols.index("⟨now⟩", first + 1) == len(symbols) - 1
    return {len(symbols) - 1: symbols[first + 1]}


def delayed_copy(symbols, *, delay=8, named=False, **_):
    begin = 0
    if named:
        begin, delay = 1, int(symbols[0].strip("⟨⟩"))
    return {time: symbols[time - delay] for time in range(begin + delay, len(symbols))}


def parity(symbols, **_):
    return {time: str(symbols[: time + 1].count("1") % 2) for time in range(len(symbols))}


def word_problem(symbols, *, group="S5", **_):
    if group == "Z60":
        return {time: str(sum(map(int, symbols[: time + 1])) % 60) for time in range(len(symbols))}
    things, answers = "12345"[: len(symbols[0])], {}
    for time, symbol in enumerate(symbols):
        things = "".join(symbol[int(thing) - 1] for thing in things)
        answers[time] = things
    return answers


SOLVERS = {
    "compression": compression,
    "delayed-copy": delayed_copy,
    "fuzzy-recall": fuzzy_recall,
    "in-context-recall": recall,
    "induction": induction,
    "memorization": memorization,
    "noisy-recall": recall,
    "parity": parity,
    "selective-copying": selective_copying,
    "word-problem": word_problem,
}
