"""Hands the built-in tasks over to the zoo."""

from zoo import Task, hookimpl
from zoo.tasks.depth.arithmetic import Arithmetic
from zoo.tasks.depth.hops import Hops
from zoo.tasks.depth.topological_order import TopologicalOrder
from zoo.tasks.in_context.automata import RandomAutomata
from zoo.tasks.in_context.copying import Copy
from zoo.tasks.in_context.ngram_lookup import NGramLookup
from zoo.tasks.mad.compression import Compression
from zoo.tasks.mad.fuzzy_recall import FuzzyRecall
from zoo.tasks.mad.memorization import Memorization
from zoo.tasks.mad.recall import InContextRecall, NoisyRecall
from zoo.tasks.mad.selective_copying import SelectiveCopying
from zoo.tasks.recall.delayed_copy import DelayedCopy
from zoo.tasks.recall.induction import Induction
from zoo.tasks.recall.mqar import MultiQueryRecall
from zoo.tasks.recall.needle import Needle
from zoo.tasks.recall.phonebook import Phonebook
from zoo.tasks.state.counting import Counting
from zoo.tasks.state.dyck import Dyck
from zoo.tasks.state.flip_flop import FlipFlop, UndoFlipFlop
from zoo.tasks.state.palindrome import Palindrome
from zoo.tasks.state.sorting import Sorting
from zoo.tasks.state.stack import Stack
from zoo.tasks.state.state_recall import StateRecall
from zoo.tasks.state.state_tracking import Parity, WordProblem


@hookimpl
def zoo_tasks() -> dict[str, type[Task]]:
    """The built-in tasks, by name."""
    return {
        "arithmetic": Arithmetic,
        "automata": RandomAutomata,
        "compression": Compression,
        "copy": Copy,
        "counting": Counting,
        "delayed-copy": DelayedCopy,
        "dyck": Dyck,
        "flip-flop": FlipFlop,
        "fuzzy-recall": FuzzyRecall,
        "hops": Hops,
        "in-context-recall": InContextRecall,
        "induction": Induction,
        "memorization": Memorization,
        "mqar": MultiQueryRecall,
        "needle": Needle,
        "ngram-lookup": NGramLookup,
        "noisy-recall": NoisyRecall,
        "palindrome": Palindrome,
        "parity": Parity,
        "phonebook": Phonebook,
        "selective-copying": SelectiveCopying,
        "sorting": Sorting,
        "stack": Stack,
        "state-recall": StateRecall,
        "topological-order": TopologicalOrder,
        "undo-flip-flop": UndoFlipFlop,
        "word-problem": WordProblem,
    }
