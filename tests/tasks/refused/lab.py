"""Options that cannot be: the task, the options, and the line that says what would do."""

REFUSED = [
    (
        "in-context-recall",
        {"length": 2},
        "length=2 should be an even number, 4 or more: a key and its value, and the key again",
    ),
    ("in-context-recall", {"vocab": 3}, "vocab=3 should be 4 or more"),
    ("noisy-recall", {"vocab": 16}, "vocab=16 should be 20 or more: noise_vocab=16 of its tokens are noise"),
    ("noisy-recall", {"noise_vocab": 0}, "noise_vocab=0 should be 1 or more"),
    ("noisy-recall", {"noise": 1.0}, "noise=1.0 should be at least 0 and less than 1"),
    ("noisy-recall", {"noise": float("nan")}, "noise=nan should be at least 0 and less than 1"),
    (
        "noisy-recall",
        {"length": 7},
        "length=7 should be an even number, 4 or more: a key and its value, and the key again",
    ),
    (
        "fuzzy-recall",
        {"key_tokens": 8},
        "vocab=16 should be 17 or more: half of it, without the filler, gives the different tokens of a key "
        "(key_tokens=8), and half those of a value (value_tokens=3)",
    ),
    (
        "fuzzy-recall",
        {"length": 11},
        "length=11 should be 12 or more: two pairs of 3 + 3 tokens, as long as they come",
    ),
    (
        "fuzzy-recall",
        {"vocab": 4096, "key_tokens": 6},
        "key_tokens=6 of 2047 tokens make more keys than can be numbered; choose 5 or fewer, or a smaller vocab",
    ),
    ("fuzzy-recall", {"value_tokens": 0}, "value_tokens=0 should be 1 or more"),
    (
        "selective-copying",
        {"length": 33},
        "length=33 should be 34 or more: 16 tokens, a blank, ⟨copy⟩, and room for 16 targets",
    ),
    ("selective-copying", {"vocab": 3}, "vocab=3 should be 4 or more"),
    ("compression", {"length": 1}, "length=1 should be 2 or more: a token and ⟨all⟩"),
    ("compression", {"vocab": 2}, "vocab=2 should be 3 or more"),
    ("memorization", {"length": 31}, "length=31 should be an even number, 2 or more: keys, each with an ⟨insert⟩"),
    ("memorization", {"vocab": 4}, "vocab=4 should be 5 or more"),
    ("memorization", {"seed": -1}, "seed=-1 should be 0 or more"),
    ("induction", {"length": 2}, "length=2 should be 3 or more: ⟨now⟩, what follows it, and ⟨now⟩ again"),
    ("delayed-copy", {"delay": 64}, "length=64 should be 65 or more: a delay of 64 and a token to echo"),
    (
        "delayed-copy",
        {"delay": 63, "named": True},
        "length=64 should be 65 or more: a delay of 63 and a token to echo, behind the name of the delay",
    ),
    ("delayed-copy", {"delay": 0}, "delay=0 should be 1 or more"),
    ("parity", {"length": 0}, "length=0 should be 1 or more"),
    ("parity", {"test_lengths": (80, 0)}, "0 in test_lengths should be 1 or more"),
    ("word-problem", {"group": "S6"}, "group='S6' is not known; there are: Z60, S3, S4, A5, S5"),
]

SMALLEST = {
    "in-context-recall": {"length": 4, "vocab": 4},
    "noisy-recall": {"length": 4, "vocab": 5, "noise_vocab": 1},
    "fuzzy-recall": {"length": 4, "vocab": 5, "key_tokens": 1, "value_tokens": 1},
    "selective-copying": {"length": 4, "vocab": 4, "copy": 1},
    "compression": {"length": 2, "vocab": 3},
    "memorization": {"length": 2, "vocab": 5},
    "induction": {"length": 3, "vocab": 3},
    "delayed-copy": {"length": 3, "vocab": 2, "delay": 1, "named": True},
    "parity": {"length": 1},
    "word-problem": {"length": 1},
}
