"""Hands the built-in tasks over to the zoo."""

from zoo import Task, hookimpl
from zoo.tasks.mad.compression import Compression
from zoo.tasks.mad.fuzzy_recall import FuzzyRecall
from zoo.tasks.mad.memorization import Memorization
from zoo.tasks.mad.recall import InContextRecall, NoisyRecall
from zoo.tasks.mad.selective_copying import SelectiveCopying
from zoo.tasks.recall.delayed_copy import DelayedCopy
from zoo.tasks.recall.induction import Induction
from zoo.tasks.recall.mqar import MultiQueryRecall
from zoo.tasks.state.state_tracking import Parity, WordProblem


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
