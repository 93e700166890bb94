"""The ancestors of a node, in an order that any of them could come in."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.depth import graphs
from zoo.tasks.depth.draws import draw_sizes, shuffle_allowed
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least, check_lengths

SMALLEST_GRAPH = 3


class TopologicalOrder(Task):
    """Topological order: the edges of a graph, and then all from which a node can be reached, each after its parents.

        w2 w5 w2 w3 w5 w3 w2 w4 ⟨query⟩ w3 ⟨answer⟩ w2 w5        the answers, from ⟨answer⟩ on: w2 w5 w3

    The graph is directed and has no cycles. Its n nodes are different words of the vocabulary. The first of them have
    no parents; how many is drawn evenly from 1 to ``1 + (n - 1) // 4``. Each later node draws a number of parents
    evenly, up to `parents`, and which ones, from the nodes before it that have fewer than `parents` children. The
    edges, each a parent and its child, are shuffled. The last node is asked for, and the answer is all of its ancestors
    and, at the end, the node itself. Every order is correct in which each node follows its parents: at each place those
    words are accepted whose parents have all been said. What is read on is one such order, drawn from its end, where
    each node that no node left needs is equally likely. N is the largest n of which the length holds any graph and for
    which the vocabulary has words. In training n is drawn from 3 to N with weights ``1 / (n + sqrt(N))``, in the test
    it is N. Filler stands at the end.

    Options:
        length: tokens of a sequence; an edge takes 2, the question 3, and each answer but the last one 1.
        words: how many words there are to draw from.
        parents: the most parents of a node, and the most children.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with a graph as large as they hold.

    Raises:
        ValueError: a length that does not hold a graph of three nodes, or fewer than three words.

    Source: Allen-Zhu 2025, "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers",
    arXiv:2512.17351, where it is called Brevo and N is 70 to 110; here N is 16, and an answer is scored
    word by word. The slices tell the accuracy by the depth of the node that is asked for, the fewest edges to it from
    one without parents, by the place of an answer, and by how many words are accepted there.
    """

    paper: ClassVar[str] = "Allen-Zhu 2025, arXiv:2512.17351"
    suite: ClassVar[str] = "depth"
    aliases: ClassVar[tuple[str, ...]] = ("brevo",)
    settings: ClassVar[Mapping[str, Any]] = {"layers": 4, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 128,
        words: int = 16,
        parents: int = 4,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(SMALLEST_GRAPH, words=words)
        check_least(1, parents=parents, examples=examples)
        edges, least = graphs.most_edges(SMALLEST_GRAPH, parents), _tokens(SMALLEST_GRAPH, parents)
        why = f"{edges} edges take {2 * edges} tokens, the question 3, and the answers {SMALLEST_GRAPH - 1}"
        self.test_lengths = check_lengths(length, test_lengths, least=least, why=why)
        self.words, self.parents = words, parents
        self.query, self.answer, self.filler = words, words + 1, words + 2
        self.length, self.vocab_size, self.train_examples = length, words + 3, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have the largest graph."""
        most, rows = self._largest_graph(length), np.arange(examples)
        sizes = draw_sizes(generator, most, rows=examples, test=test)
        names = draw_distinct(generator, self.words, rows=examples, count=int(sizes.max()))
        graph = graphs.draw_graphs(generator, sizes, self.parents)
        members = graphs.find_ancestors(graph, sizes - 1)
        orders = graphs.draw_orders(generator, graph, members)

        inputs = np.full((examples, length), self.filler)
        begin = self._write_question(generator, inputs, graph, names, sizes)
        targets, place = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        row, which = np.nonzero(orders >= 0)
        column = begin[row] + which
        targets[row, column], place[row, column] = names[row, orders[row, which]], which + 1
        inputs[:, 1:] = np.where(place[:, 1:] > 1, targets[:, :-1], inputs[:, 1:])
        accepted = np.zeros((examples, length, self.vocab_size), dtype=bool)
        row, which, node = np.nonzero(graphs.find_next(graph, members, orders))
        accepted[row, begin[row] + which, names[row, node]] = True
        depth = graphs.find_depths(graph)[rows, sizes - 1]
        slices = {"depth": depth, "place": place, "choices": accepted.sum(axis=2)}
        return Examples(inputs, targets, slices=slices, accepted=accepted)

    def _write_question(
        self,
        generator: np.random.Generator,
        inputs: np.ndarray,
        graph: np.ndarray,
        names: np.ndarray,
        sizes: np.ndarray,
    ) -> np.ndarray:
        """Write the edges in a random order, and the question; the position of ⟨answer⟩, ``(b,)``."""
        rows, most = np.arange(len(inputs)), graph.shape[1]
        edges = graph.reshape(len(inputs), -1)
        order, count = shuffle_allowed(generator, edges), edges.sum(axis=1)
        row, which = np.nonzero(np.arange(edges.shape[1]) < count[:, None])
        child, parent = np.divmod(order[row, which], most)
        inputs[row, 2 * which], inputs[row, 2 * which + 1] = names[row, parent], names[row, child]
        inputs[rows, 2 * count], inputs[rows, 2 * count + 1] = self.query, names[rows, sizes - 1]
        inputs[rows, 2 * count + 2] = self.answer
        return 2 * count + 2

    def _largest_graph(self, length: int) -> int:
        """The most nodes of which a sequence holds any graph."""
        size = SMALLEST_GRAPH
        while size < self.words and _tokens(size + 1, self.parents) <= length:
            size += 1
        return size

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """What counts alone say: the word not yet said that was seldom a child, the more so early, and often a parent.

        A word that was no parent leads nowhere, and is said only where it is the one that is asked for.
        """
        rows, places = np.arange(len(inputs)), np.arange(inputs.shape[1])
        asks = (inputs == self.query).argmax(axis=1)
        parent, child = (
            self._count(inputs, (places < asks[:, None]) & (places % 2 == side)).astype(np.float64) for side in (0, 1)
        )
        barred = np.where(parent == 0, np.inf, 0)
        barred[rows, inputs[rows, asks + 1]] = 0
        guesses = np.zeros_like(inputs)
        for time in places:
            said = np.maximum(time - asks - 2, 0)
            barred[rows, inputs[:, time]] = np.where(said > 0, np.inf, barred[rows, inputs[:, time]])
            guesses[:, time] = (parent - 3 * child / (1 + said[:, None]) - barred).argmax(axis=1)
        return guesses

    def _count(self, inputs: np.ndarray, where: np.ndarray) -> np.ndarray:
        """How often each token stands where ``(b, t)`` says so, ``(b, v)``."""
        counts = np.zeros((len(inputs), self.vocab_size), dtype=np.int64)
        np.add.at(counts, (np.nonzero(where)[0], inputs[where]), 1)
        return counts

    def symbol(self, token: int) -> str:
        """``w3`` for a word, ``⟨query⟩``, ``⟨answer⟩``, ``·`` for the filler."""
        return f"w{token}" if token < self.words else ("⟨query⟩", "⟨answer⟩", "·")[token - self.words]


def _tokens(size: int, parents: int) -> int:
    """What a graph of so many nodes takes at most."""
    return 2 * graphs.most_edges(size, parents) + 3 + size - 1
