"""Each task solved in plain Python from its definition alone."""

import re


def mqar(symbols, *, pairs=4, variant="plain", updates=4, mixture=False, **_):
    key_of_pair = {"plain": r"(k\d+) (v\d+) ", "compositional": r"(a\d+ b\d+) (v\d+) ", "stacked": r"(k\d+)(v\d+) "}
    pair = key_of_pair["plain" if variant == "forgetting" else variant]
    context = re.match(f"(?:{pair})+", "".join(f"{symbol} " for symbol in symbols)).group()
    given = re.findall(pair, context)
    value_of = dict(given)  # the last value of a key counts
    if not mixture:
        assert len(value_of) == pairs
    assert len(given) == len(value_of) + (updates if variant == "forgetting" else 0)
    asked, answers, time = [], {}, context.count(" ")
    while time < len(symbols):
        if symbols[time] != "·":
            query = symbols[time : time + (2 if variant == "compositional" else 1)]
            asked.append(" ".join(query))
            time += len(query) - 1
            answers[time] = value_of[asked[-1]]
        time += 1
    assert sorted(asked) == sorted(value_of)
    return answers


def as_text(symbols):
    """What the symbols of bytes spell, a character each; bytes that are no printable ASCII become a question mark."""
    return "".join(symbol if len(symbol) == 1 else "?" for symbol in symbols).replace("␣", " ").replace("⏎", "\n")


def phonebook(symbols, *, questions=4, **_):
    text = as_text(symbols)
    book, asked = text.lstrip("\n").split("\n\n")
    number_of = dict(line.split(": ") for line in book.splitlines())
    assert len(number_of) == len(book.splitlines())
    answers, begin = {}, len(text) - len(asked)
    for line in asked.splitlines(keepends=True):
        name, number = line.split(": ")
        assert number_of.pop(name) == number.strip()  # no name is asked for twice
        answers[begin + len(name) + 1] = number[0]
        begin += len(line)
    assert len(answers) == questions
    return answers


def needle(symbols, *, needles=4, **_):
    text = as_text(symbols)
    found = dict(re.findall(r"\n([A-Z][a-z][a-z][a-z])'s number is (\d+)\.\n", text))
    assert len(found) == needles
    question = re.search(r"\n(\w+)'s number is (\d+)$", text)
    assert found[question[1]] == question[2]
    return {question.start(2) - 1: question[2][0]}


SOLVERS = {
    "mqar": mqar,
    "needle": needle,
    "phonebook": phonebook,
}
