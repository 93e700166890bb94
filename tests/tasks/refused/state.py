"""Options that cannot be: the task, the options, and the line that says what would do; and the smallest that can."""

REFUSED = [
    ("flip-flop", {"length": 5}, "length=5 should be an even number, 4 or more: a bit written, and read"),
    (
        "flip-flop",
        {"test_lengths": (64, 2)},
        "2 in test_lengths should be an even number, 4 or more: a bit written, and read",
    ),
    ("flip-flop", {"ignore": 1.0}, "ignore=1.0 should be more than 0 and less than 1"),
    ("flip-flop", {"test_ignore": 0.0}, "test_ignore=0.0 should be more than 0 and less than 1"),
    ("flip-flop", {"ignore": float("nan")}, "ignore=nan should be more than 0 and less than 1"),
    ("undo-flip-flop", {"length": 2}, "length=2 should be 3 or more: a bit written, and read"),
    (
        "undo-flip-flop",
        {"test_undos": 16},
        "test_undos=16 should be 15 or fewer: so many, the writes that they take back, and one more, of two tokens "
        "each, and a read fit into 50 tokens",
    ),
    ("undo-flip-flop", {"test_undos": 1}, "test_undos=1 should be 2 or more"),
    ("undo-flip-flop", {"undo": -1.0}, "undo=-1.0 should be at least 0 and less than 1"),
    ("undo-flip-flop", {"undo": 0.5}, "ignore=0.8 + read=0.1 + undo=0.5 should be less than 1: the rest writes"),
    ("state-recall", {"variables": 1}, "variables=1 should be 2 or more"),
    ("state-recall", {"bits": 4}, "bits=4 should be 5 or more: no two variables have the same address"),
    (
        "state-recall",
        {"length": 31},
        "length=31 should be 32 or more: 16 bits, 5 variables with their addresses, a pair, and marks between them",
    ),
    ("dyck", {"length": 63}, "length=63 should be an even number, 2 or more: a bracket, and its match"),
    ("dyck", {"brackets": 1}, "brackets=1 should be 2 or more"),
    ("dyck", {"depth": 0}, "depth=0 should be 1 or more"),
    ("palindrome", {"length": 9}, "length=9 should be an even number, 2 or more: a token, and ⟨back⟩"),
    ("palindrome", {"vocab": 2}, "vocab=2 should be 3 or more"),
    ("stack", {"length": 5}, "length=5 should be 6 or more: a push and a pop of three tokens each"),
    ("stack", {"stacks": 0}, "stacks=0 should be 1 or more"),
    ("stack", {"elements": 1}, "elements=1 should be 2 or more"),
    ("sorting", {"length": 7}, "length=7 should be an even number, 2 or more: a number, and ⟨sort⟩"),
    ("sorting", {"vocab": 3}, "vocab=3 should be 4 or more"),
    ("counting", {"letters": 27}, "letters=27 should be from 2 to 26"),
    ("counting", {"letters": 3, "length": 2}, "length=2 should be 3 or more: each of 3 letters once"),
]

SMALLEST = {
    "counting": {"length": 2, "letters": 2},
    "dyck": {"length": 2, "brackets": 2, "depth": 1},
    "flip-flop": {"length": 4},
    "palindrome": {"length": 2, "vocab": 3},
    "sorting": {"length": 2, "vocab": 4},
    "stack": {"length": 6, "stacks": 1, "elements": 2},
    "state-recall": {"length": 12, "bits": 2, "variables": 2},
    "undo-flip-flop": {"length": 3},
}
