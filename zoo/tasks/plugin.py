"""Hands the built-in tasks over to the zoo."""

from zoo import Task, hookimpl
from zoo.tasks.compression import Compression
from zoo.tasks.delayed_copy import DelayedCopy
from zoo.tasks.fuzzy_recall import FuzzyRecall
from zoo.tasks.induction import Induction
from zoo.tasks.memorization import Memorization
from zoo.tasks.mqar import MultiQueryRecall
from zoo.tasks.recall import InContextRecall, NoisyRecall
from zoo.tasks.selective_copying import SelectiveCopying
from zoo.tasks.state_tracking import Parity, WordProblem


@hookimpl
def zoo_tasks() -> dict[str, type[Task]]:
    """The built-in tasks, by name."""
    return {
        "compression": Compression,
        "delayed-copy": DelayedCopy,
        "fuzzy-recall": FuzzyRecall,
        "in-context-recall": InContextRecall,
        "induction": Induction,
        "memorization": Memorization,
        "mqar": MultiQueryRecall,
        "noisy-recall": NoisyRecall,
        "parity": Parity,
        "selective-copying": SelectiveCopying,
        "word-problem": WordProblem,
    }
