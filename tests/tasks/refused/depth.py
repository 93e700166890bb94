"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

REFUSED = [
    ("hops", {"words": 2}, "words=2 should be 3 or more"),
    ("hops", {"hops": 0}, "hops=0 should be 1 or more"),
    ("hops", {"queries": 0}, "queries=0 should be 1 or more"),
    (
        "hops",
        {"length": 14},
        "length=14 should be 15 or more: a cycle of 3 words takes 6 tokens, and each of its queries 3",
    ),
    (
        "hops",
        {"queries": 2, "test_lengths": (12, 11)},
        "11 in test_lengths should be 12 or more: a cycle of 3 words takes 6 tokens, and each of its queries 3",
    ),
    ("arithmetic", {"form": "postfix"}, "form='postfix' is not known; there are: prefix, infix, brackets"),
    ("arithmetic", {"modulus": 1}, "modulus=1 should be 2 or more"),
    (
        "arithmetic",
        {"length": 4},
        "length=4 should be 5 or more: the shortest expression with an operation is ⟨1⟩ + 2 3 =",
    ),
    (
        "arithmetic",
        {"form": "infix", "length": 3},
        "length=3 should be 4 or more: the shortest expression with an operation is 2 + 3 =",
    ),
    (
        "arithmetic",
        {"form": "brackets", "test_lengths": (5,)},
        "5 in test_lengths should be 6 or more: the shortest expression with an operation is ( 2 + 3 ) =",
    ),
    ("topological-order", {"words": 2}, "words=2 should be 3 or more"),
    ("topological-order", {"parents": 0}, "parents=0 should be 1 or more"),
    (
        "topological-order",
        {"length": 10},
        "length=10 should be 11 or more: 3 edges take 6 tokens, the question 3, and the answers 2",
    ),
    (
        "topological-order",
        {"parents": 1, "test_lengths": (8,)},
        "8 in test_lengths should be 9 or more: 2 edges take 4 tokens, the question 3, and the answers 2",
    ),
]

SMALLEST = {
    "hops": {"length": 9, "words": 3, "hops": 1, "queries": 1},
    "arithmetic": {"length": 5, "modulus": 2},
    "topological-order": {"length": 9, "words": 3, "parents": 1},
}
