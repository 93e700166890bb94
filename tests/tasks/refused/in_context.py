"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

REFUSED = [
    ("automata", {"length": 2}, "length=2 should be 3 or more: two strings of a symbol and | between"),
    (
        "automata",
        {"test_lengths": (256, 2)},
        "2 in test_lengths should be 3 or more: two strings of a symbol and | between",
    ),
    ("automata", {"edges": 1}, "edges=1 should be 2 or more"),
    ("automata", {"states": 3}, "states=3 should be 4 or more: a state has up to edges=3 edges"),
    ("automata", {"letters": 3}, "letters=3 should be 4 or more: a state has up to edges=3 edges"),
    ("automata", {"strings": 2}, "strings=2 should be 3 or more"),
    ("automata", {"string_length": 0}, "string_length=0 should be 1 or more"),
    ("copy", {"letters": 1}, "letters=1 should be 2 or more"),
    ("copy", {"letters": 27}, "letters=27 should be 26 or fewer"),
    ("copy", {"length": 4}, "length=4 should be 5 or more: twice a string of 1, and three marks"),
    (
        "copy",
        {"length": 20, "duplicated": 4},
        "length=20 should be 21 or more: twice a string of 9, and three marks, with duplicated=4",
    ),
    (
        "copy",
        {"test_lengths": (203, 4)},
        "4 in test_lengths should be 5 or more: twice a string of 1, and three marks",
    ),
    ("copy", {"duplicated": -1}, "duplicated=-1 should be 0 or more"),
    ("ngram-lookup", {"order": "infix"}, "order='infix' is not known; there are: suffix, prefix"),
    ("ngram-lookup", {"key": 0}, "key=0 should be 1 or more"),
    ("ngram-lookup", {"answer": 0}, "answer=0 should be 1 or more"),
    ("ngram-lookup", {"letters": 1}, "letters=1 should be 2 or more"),
    ("ngram-lookup", {"letters": 30}, "letters=30 should be 26 or fewer"),
    (
        "ngram-lookup",
        {"length": 12},
        "length=12 should be 13 or more: a string of key=2 + answer=3 letters, these again, and 3 marks",
    ),
    (
        "ngram-lookup",
        {"length": 13, "order": "prefix"},
        "length=13 should be 14 or more: a string of key=2 + answer=3 letters, these again, and 4 marks",
    ),
    (
        "ngram-lookup",
        {"letters": 14},
        "letters=14 and key=2 make 196 keys; for a length of 208 there should be 200 or more, one for each letter of "
        "the string",
    ),
]

SMALLEST = {
    "automata": {"length": 3, "states": 3, "letters": 3, "edges": 2, "strings": 3, "string_length": 1},
    "copy": {"length": 5, "letters": 2, "duplicated": 0},
    "ngram-lookup": {"length": 9, "letters": 15, "key": 2, "answer": 1},
}
