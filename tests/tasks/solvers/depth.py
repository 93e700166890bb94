"""Each task solved in plain Python from its definition alone."""


def hops(symbols, *, queries=10, **_):
    begin = next(time for time, symbol in enumerate(symbols) if symbol[0] != "w")
    edges = list(zip(symbols[0:begin:2], symbols[1:begin:2], strict=True))
    behind = dict(edges)
    assert len(behind) == len(edges)
    answers, asked, time = {}, set(), begin
    while time < len(symbols) and symbols[time] != "·":
        word = symbols[time + 1]
        assert word not in asked
        asked.add(word)
        for _ in range(int(symbols[time].strip("⟨⟩"))):
            word = behind[word]
        answers[time + 1] = word
        assert symbols[time + 2] == word  # the answer is read on
        time += 3
    assert set(symbols[time:]) <= {"·"}
    assert len(asked) == min(len(edges), queries)
    return answers


def arithmetic(symbols, *, form="prefix", modulus=23, **_):
    end = symbols.index("=")
    assert set(symbols[end + 1 :]) <= {"·"}
    if form == "prefix":
        expression = symbols[1:end]
        value, rest = prefix_value(expression)
        assert symbols[0] == f"⟨{len(expression) // 2}⟩"
    elif form == "infix":
        value, rest = sum_value(symbols[:end])
    else:
        value, rest = bracket_value(symbols[:end])
    assert rest == []
    return {end: str(value % modulus)}


OPERATIONS = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y}


def prefix_value(symbols):
    """What the expression at the beginning gives, and the symbols after it."""
    if symbols[0] not in OPERATIONS:
        return int(symbols[0]), symbols[1:]
    left, rest = prefix_value(symbols[1:])
    right, rest = prefix_value(rest)
    return OPERATIONS[symbols[0]](left, right), rest


def sum_value(symbols):
    total, rest = product_value(symbols)
    while rest:
        term, after = product_value(rest[1:])
        total, rest = OPERATIONS[rest[0]](total, term), after
    return total, rest


def product_value(symbols):
    product, rest = int(symbols[0]), symbols[1:]
    while rest and rest[0] == "*":
        product, rest = product * int(rest[1]), rest[2:]
    return product, rest


def bracket_value(symbols):
    if symbols[0] == "-":
        return -int(symbols[1]), symbols[2:]
    if symbols[0] != "(":
        return int(symbols[0]), symbols[1:]
    value, rest = bracket_value(symbols[1:])
    if rest[0] != ")":
        right, after = bracket_value(rest[1:])
        value, rest = OPERATIONS[rest[0]](value, right), after
    assert rest[0] == ")"
    return value, rest[1:]


def topological_order(symbols, **_):
    """The order that is read on, of which each word may come where it does, and the last is the one that is asked."""
    allowed = topological_choices(symbols)
    begin, asked = symbols.index("⟨answer⟩"), symbols[symbols.index("⟨query⟩") + 1]
    order = [*symbols[begin + 1 : begin + len(allowed)], asked]
    assert all(word in allowed[begin + place] for place, word in enumerate(order))
    assert set(symbols[begin + len(allowed) :]) <= {"·"}
    return dict(enumerate(order, start=begin))


def topological_choices(symbols):
    """The words that may be said at each position of an answer, after those that were said before it."""
    edges = symbols[: symbols.index("⟨query⟩")]
    parents = {word: set() for word in edges}
    for parent, child in zip(edges[0::2], edges[1::2], strict=True):
        assert parent not in parents[child]
        parents[child].add(parent)
    needed, unseen = set(), [symbols[len(edges) + 1]]
    while unseen:
        word = unseen.pop()
        if word not in needed:
            needed.add(word)
            unseen += parents[word]
    begin, said, allowed = symbols.index("⟨answer⟩"), set(), {}
    for time in range(begin, begin + len(needed)):
        if time > begin:
            said.add(symbols[time])
        allowed[time] = {word for word in needed - said if parents[word] <= said}
    return allowed


SOLVERS = {"arithmetic": arithmetic, "hops": hops, "topological-order": topological_order}
