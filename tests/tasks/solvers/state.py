"""Each task solved in plain Python from its definition alone."""


def flip_flop(symbols, **_):
    assert (symbols[0], symbols[-2]) == ("w", "r")
    bit, answers = "", {}
    for time in range(0, len(symbols), 2):
        instruction, given = symbols[time : time + 2]
        if instruction == "w":
            bit = given
        if instruction == "r":
            assert given == bit
            answers[time] = bit
    return answers


def undo_flip_flop(symbols, **_):
    assert (symbols[0], symbols[-1]) == ("w", "r")
    stack, answers, rest = [], {}, list(enumerate(symbols))
    while rest:
        time, instruction = rest.pop(0)
        if instruction == "w":
            stack.append(rest.pop(0)[1])
        elif instruction == "i":
            rest.pop(0)
        elif instruction == "u":
            stack.pop()
        else:
            assert instruction == "r"
            answers[time] = stack[-1]
    return answers


def state_recall(symbols, *, variables=5, **_):
    init, swap, read = (symbols.index(mark) for mark in ("⟨init⟩", "⟨swap⟩", "⟨read⟩"))
    held = dict(zip(symbols[init + 1 : swap : 2], symbols[init + 2 : swap : 2], strict=True))
    assert len(held) == len(set(held.values())) == variables
    for one, other in zip(symbols[swap + 1 : read : 2], symbols[swap + 2 : read : 2], strict=True):
        assert one != other
        held[one], held[other] = held[other], held[one]
    assert set(symbols[read + 2 :]) <= {"·"}
    return {read + 1: symbols[:init][int(held[symbols[read + 1]][1:])]}


def dyck(symbols, *, depth=10, **_):
    stack, answers = [], {}
    for time, symbol in enumerate(symbols):
        if symbol.startswith("("):
            stack.append(symbol[1:])
            assert len(stack) <= depth
        else:
            answers[time - 1] = stack.pop() + ")"
            assert symbol == answers[time - 1]
    assert not stack
    return answers


def palindrome(symbols, **_):
    middle = symbols.index("⟨back⟩")
    tokens = symbols[:middle]
    answers = {middle + place: tokens[-1 - place] for place in range(len(tokens))}
    assert symbols[middle + 1 :] == list(answers.values())[:-1]
    return answers


def stack(symbols, **_):
    lying, answers = {}, {}
    for time in range(0, len(symbols) - 2, 3):
        operation, name, element = symbols[time : time + 3]
        assert operation in {"push", "pop"}
        if operation == "push":
            lying.setdefault(name, []).append(element)
        else:
            answers[time + 1] = lying[name].pop()
            assert element == answers[time + 1]
    assert symbols[len(symbols) - len(symbols) % 3 :] == ["·"] * (len(symbols) % 3)
    return answers


def sorting(symbols, **_):
    middle = symbols.index("⟨sort⟩")
    assert symbols[middle + 1 :] == ["·"] * (middle - 1)
    return dict(enumerate(sorted(symbols[:middle], key=int), start=middle))


def counting(symbols, *, letters=2, **_):
    """What counts: the last two of each run of b, c, …, as far as they are there."""
    alphabet, answers, time = "abcdefghijklmnopqrstuvwxyz"[:letters], {}, 0
    while time < len(symbols):
        many = 0
        while time + many < len(symbols) and symbols[time + many] == "a":
            many += 1
        assert many
        time += many
        for letter in alphabet[1:]:
            following = alphabet[(alphabet.index(letter) + 1) % letters]
            run = {time + place: letter if place < many - 1 else following for place in range(many)}
            assert all(symbols[place] == letter for place in run if place < len(symbols))
            answers |= {place: run[place] for place in list(run)[-2:] if place < len(symbols)}
            time += many
    return answers


SOLVERS = {
    "counting": counting,
    "dyck": dyck,
    "flip-flop": flip_flop,
    "palindrome": palindrome,
    "sorting": sorting,
    "stack": stack,
    "state-recall": state_recall,
    "undo-flip-flop": undo_flip_flop,
}
