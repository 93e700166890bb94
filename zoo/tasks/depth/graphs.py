"""Random directed graphs without cycles, and orders in which every node follows its parents.

Nodes are numbers, and a parent is always the smaller one. A graph is ``(b, n, n)``, bool: ``graph[:, i, j]`` says
that j is a parent of i. Where an example has fewer than n nodes, the last numbers are none.
"""

import numpy as np

from zoo.tasks.drawing import choose_one


def most_edges(size: int, parents: int) -> int:
    """How many edges a graph of so many nodes has at most."""
    return sum(min(node, parents) for node in range(size))


def draw_graphs(generator: np.random.Generator, sizes: np.ndarray, parents: int) -> np.ndarray:
    """Graphs with so many nodes, ``(b,)``, of which none has more than `parents` parents, nor more children.

    The first nodes have no parents; how many they are is drawn evenly, up to about a quarter. Every other node draws a
    number of parents evenly, and which, from the earlier nodes that may have one more child.
    """
    rows, most = len(sizes), int(sizes.max())
    sources = generator.integers(1, (sizes - 1) // 4 + 2)
    graphs, children = np.zeros((rows, most, most), dtype=bool), np.zeros((rows, most), dtype=np.int64)
    for node in range(1, most):
        able = children < parents
        able[:, node:] = False
        count = generator.integers(1, np.clip(able.sum(axis=1), 1, parents) + 1)
        count[(node < sources) | (node >= sizes)] = 0
        rank = np.argsort(np.argsort(np.where(able, generator.random(able.shape), 2), axis=1), axis=1)
        graphs[:, node] = rank < count[:, None]
        children += graphs[:, node]
    return graphs


def find_ancestors(graphs: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Which nodes lead to a node of each graph, ``(b,)``, itself among them; ``(b, n)``, bool."""
    found = asked[:, None] == np.arange(graphs.shape[1])
    for node in reversed(range(graphs.shape[1])):
        found |= found[:, node, None] & graphs[:, node]
    return found


def find_depths(graphs: np.ndarray) -> np.ndarray:
    """The fewest edges from a node without parents to each node, ``(b, n)``."""
    depths = np.zeros(graphs.shape[:2], dtype=np.int64)
    for node in range(1, graphs.shape[1]):
        parents = graphs[:, node]
        nearest = np.where(parents, depths, graphs.shape[1]).min(axis=1)
        depths[:, node] = np.where(parents.any(axis=1), 1 + nearest, 0)
    return depths


def draw_orders(generator: np.random.Generator, graphs: np.ndarray, members: np.ndarray) -> np.ndarray:
    """An order of the members, ``(b, n)`` bool, in which each follows its parents: ``(b, n)``, with -1 at the end.

    It is drawn from the end: each of the members that no other one left needs is equally likely to be the next.
    """
    rows, count = np.arange(len(members)), members.sum(axis=1)
    orders, left = np.full(members.shape, -1), members.copy()
    for place in range(members.shape[1]):
        needed = (graphs & left[:, :, None]).any(axis=1)
        node, there = choose_one(generator, left & ~needed), place < count
        orders[rows[there], count[there] - 1 - place] = node[there]
        left[rows[there], node[there]] = False
    return orders


def find_next(graphs: np.ndarray, members: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Which members may come at each place, after those before it: ``(b, n, n)``, bool, by place and node."""
    rows, said = np.arange(len(members)), np.zeros_like(members)
    allowed = np.zeros(graphs.shape, dtype=bool)
    for place in range(members.shape[1]):
        waits = (graphs & ~said[:, None, :]).any(axis=2)
        there = orders[:, place] >= 0
        allowed[:, place] = members & ~said & ~waits & there[:, None]
        said[rows[there], orders[there, place]] = True
    return allowed
