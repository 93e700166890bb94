"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

REFUSED = [
    ("mqar", {"pairs": 0}, "pairs=0 should be 1 or more"),
    (
        "mqar",
        {"pairs": 20},
        "length=64 should be an even number, 80 or more: 20 pairs take 40 tokens, and their queries as many",
    ),
    (
        "mqar",
        {"length": 65},
        "length=65 should be an even number, 16 or more: 4 pairs take 8 tokens, and their queries as many",
    ),
    (
        "mqar",
        {"test_lengths": (128, 8)},
        "8 in test_lengths should be an even number, 16 or more: 4 pairs take 8 tokens, and their queries as many",
    ),
    ("mqar", {"vocab": 64}, "vocab=64 should be more than the 64 tokens of the longest sequence"),
    (
        "mqar",
        {"vocab": 100, "test_lengths": (128,)},
        "vocab=100 should be more than the 128 tokens of the longest sequence",
    ),
    ("mqar", {"power": float("nan")}, "power=nan should be from 0 to 10; 1 spreads the queries evenly"),
    ("mqar", {"examples": 0}, "examples=0 should be 1 or more"),
    (
        "mqar",
        {"variant": "other"},
        "variant='other' is not known; there are: plain, forgetting, compositional, stacked",
    ),
    ("mqar", {"variant": "forgetting", "updates": 5}, "updates=5 should be 4 or less with pairs=4"),
    (
        "mqar",
        {"variant": "forgetting", "length": 22},
        "length=22 should be an even number, 24 or more: 4 pairs take 16 tokens, and their queries 8",
    ),
    (
        "mqar",
        {"variant": "compositional", "pairs": 8},
        "pairs=8 should be a square number, e.g. 4, which is a grid",
    ),
    (
        "mqar",
        {"variant": "compositional", "length": 22},
        "length=22 should be an even number, 24 or more: 4 pairs take 12 tokens, and their queries as many",
    ),
    (
        "mqar",
        {"variant": "stacked", "vocab": 24},
        "pairs=4 should be 3 or less: a vocabulary of 16 has so many keys, as many values, and a token for each pair "
        "of them; or give it 25 tokens",
    ),
    ("mqar", {"variant": "stacked", "vocab": 3}, "vocab=3 should be 4 or more"),
    (
        "mqar",
        {"variant": "stacked", "length": 6},
        "length=6 should be an even number, 8 or more: 4 pairs take 4 tokens, and their queries as many",
    ),
    (
        "mqar",
        {"variant": "stacked", "random_filler": True},
        "random_filler=true should be false with variant='stacked'",
    ),
    ("mqar", {"variant": "stacked", "mixture": True}, "mixture=true should be false with variant='stacked'"),
    (
        "mqar",
        {"mixture": True, "length": 32},
        "length=32 should be one of 64, 128, 256, 512, 1024 with mixture=true",
    ),
    (
        "mqar",
        {"mixture": True, "test_lengths": (2048,)},
        "2048 in test_lengths should be one of 64, 128, 256, 512, 1024 with mixture=true",
    ),
    (
        "phonebook",
        {"length": 79},
        "length=79 should be 80 or more: digits=3 make lines of 10, 4 in the book and questions=4",
    ),
    (
        "phonebook",
        {"questions": 1, "test_lengths": (29,)},
        "29 in test_lengths should be 30 or more: digits=3 make lines of 10, 2 in the book and questions=1",
    ),
    ("phonebook", {"digits": 0}, "digits=0 should be 1 or more"),
    ("phonebook", {"questions": 0}, "questions=0 should be 1 or more"),
    (
        "needle",
        {"length": 122, "test_lengths": ()},
        "length=122 should be 123 or more: needles=4 with digits=3 and the question take 113, and text is left",
    ),
    ("needle", {"needles": 1}, "needles=1 should be 2 or more"),
    ("needle", {"digits": 0}, "digits=0 should be 1 or more"),
    (
        "needle",
        {"needles": 7226, "length": 200_000, "test_lengths": ()},
        "needles=7226 should be 7225 or less: there are so many names",
    ),
    ("needle", {"corpus": "mqar"}, "corpus='mqar' should be a text: the name of a corpus, or a path"),
    (
        "needle",
        {"length": 100_000_000},
        "corpus='python-stdlib' should have 99999887 bytes or more in each split",
    ),
]

SMALLEST = {
    "mqar": {"pairs": 1, "length": 4, "vocab": 5},
    "needle": {"needles": 2, "digits": 1, "length": 71},
    "phonebook": {"questions": 1, "digits": 1, "length": 24},
}
