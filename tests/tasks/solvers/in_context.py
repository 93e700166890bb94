"""Each task solved in plain Python from its definition alone."""


def automata(symbols, *, strings=19, string_length=12, **_):
    sequence = "".join(symbol if symbol in "|·" else "x" for symbol in symbols)
    cut = sequence.rstrip("·")
    assert "·" not in cut
    parts = cut.split("|")
    assert all(1 <= len(part) <= string_length for part in parts[:-1])
    assert len(parts[-1]) <= string_length
    assert (strings + 1) // 2 <= len(parts) <= strings if cut != sequence else len(parts) <= strings + 1
    return {time: symbols[time + 1] for time in range(len(symbols) - 1) if sequence[time + 1] == "x"}


def copy(symbols, **_):
    text = written(symbols)
    string, answer = text.split("|")
    assert answer == string
    return dict(enumerate(string, start=len(string) + 1))


def ngram_lookup(symbols, *, order="suffix", key=2, answer=3, **_):
    parts = written(symbols).split("|")
    if order == "suffix":
        string, asked = parts[0], parts[1][:key]
    else:
        asked, string = parts[0], parts[1]
    (place,) = [place for place in range(len(string)) if string[place : place + key] == asked]
    found = string[place + key : place + key + answer]
    assert len(asked) == key
    assert len(found) == answer
    assert parts[1:] == [asked + found] if order == "suffix" else parts[2:] == [found]
    return dict(enumerate(found, start=symbols.index(".") - answer - 1))


def written(symbols):
    """What stands between the $ and the dot."""
    text = "".join(symbols)
    end = text.index(".")
    assert text[0] == "$"
    assert set(text[end + 1 :]) <= {"·"}
    return text[1:end]


SOLVERS = {"automata": automata, "copy": copy, "ngram-lookup": ngram_lookup}
