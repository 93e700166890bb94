"""Random arithmetic expressions, and what they give.

A number is its own token. The operations follow, and then the other symbols, in the order of the functions below. All
expressions are ``(b, t)`` and begin at the left; what is not used of a row is filler.
"""

from typing import NamedTuple

import numpy as np

from zoo.tasks.depth.stacks import Stacks

PLUS, MINUS, TIMES, EQUALS, FILLER, OPEN, CLOSE = range(7)
"""What follows the numbers, from the modulus on; without brackets other tokens may take the last two."""

OPERATIONS = 3


class Result(NamedTuple):
    """What each expression gives, ``(b,)`` each."""

    value: np.ndarray
    """From 0 to below the modulus."""

    operations: np.ndarray
    """How many operations it has; a sign is none."""

    depth: np.ndarray | None = None
    """The most operations that stand one in another; None where they stand side by side."""


def draw_prefix(generator: np.random.Generator, modulus: int, operations: np.ndarray) -> np.ndarray:
    """Expressions with the operation in front of both operands, with so many operations, ``(b,)``.

    An operation has all the others of its expression in its operands; how many are in the left one is drawn evenly.
    """
    rows, time = len(operations), 2 * int(operations.max()) + 1
    digits, signs = _draw_symbols(generator, modulus, rows, time)
    tokens, sizes = np.full((rows, time), modulus + FILLER), Stacks(rows, time)
    sizes.push(np.ones(rows, dtype=bool), operations)
    for step in range(time):
        started = sizes.height > 0
        size = sizes.pop(started)
        split = size > 0
        tokens[started, step] = np.where(split, signs[:, step], digits[:, step])[started]
        left = generator.integers(np.maximum(size, 1))
        sizes.push(split, size - 1 - left)
        sizes.push(split, left)
    return tokens


def evaluate_prefix(tokens: np.ndarray, modulus: int) -> Result:
    """Read from the right: a number is kept, and an operation takes the two that were kept last."""
    rows, time = tokens.shape
    values, depths = Stacks(rows, time), Stacks(rows, time)
    is_digit, is_sign = tokens < modulus, (tokens >= modulus) & (tokens < modulus + OPERATIONS)
    for step in reversed(range(time)):
        sign = is_sign[:, step]
        left, right = values.pop(sign), values.pop(sign)
        deeper = 1 + np.maximum(depths.pop(sign), depths.pop(sign))
        digit = tokens[:, step]
        values.push(is_digit[:, step] | sign, np.where(sign, _apply(digit - modulus, left, right, modulus), digit))
        depths.push(is_digit[:, step] | sign, np.where(sign, deeper, 0))
    return Result(values.items[:, 0], is_sign.sum(axis=1), depths.items[:, 0])


def draw_infix(generator: np.random.Generator, modulus: int, operations: np.ndarray) -> np.ndarray:
    """Numbers with operations between them, so many, ``(b,)``."""
    rows, time = len(operations), 2 * int(operations.max()) + 1
    tokens, signs = _draw_symbols(generator, modulus, rows, time)
    tokens[:, 1::2] = signs[:, 1::2]
    tokens[np.arange(time) > 2 * operations[:, None]] = modulus + FILLER
    return tokens


def evaluate_infix(tokens: np.ndarray, modulus: int) -> Result:
    """Read from the left, multiplications before additions: a sum of products, of which the last still grows."""
    is_sign = (tokens >= modulus) & (tokens < modulus + OPERATIONS)
    total, product = np.zeros_like(tokens[:, 0]), tokens[:, 0]
    for step in range(1, tokens.shape[1], 2):
        sign, digit = tokens[:, step] - modulus, tokens[:, step + 1]
        ends = is_sign[:, step] & (sign != TIMES)
        total = np.where(ends, total + product, total) % modulus
        grown = np.where(is_sign[:, step], product * digit, product)
        product = np.where(ends, np.where(sign == MINUS, -digit, digit), grown) % modulus
    return Result((total + product) % modulus, is_sign.sum(axis=1))


def draw_brackets(generator: np.random.Generator, modulus: int, sizes: np.ndarray) -> np.ndarray:
    """Expressions in brackets of so many tokens, ``(b,)``.

    One of 5 tokens and more is ``(left operation right)``; how many tokens the left one has is drawn evenly. Those of
    fewer tokens are ``d``, ``-d``, ``(d)`` and ``(-d)``.
    """
    rows, time = len(sizes), int(sizes.max())
    digits, signs = _draw_symbols(generator, modulus, rows, time)
    tokens, pending = np.full((rows, time), modulus + FILLER), Stacks(rows, 2 * time + 1)
    # A symbol that is to be written later is pending as a negative number, an expression as its size.
    pending.push(np.ones(rows, dtype=bool), sizes)
    close = np.full(rows, ~(modulus + CLOSE))
    for step in range(time):
        started = pending.height > 0
        size = pending.pop(started)
        split, encloses = size > 4, size > 2
        symbols = [~size, digits[:, step], np.full(rows, modulus + MINUS)]
        tokens[started, step] = np.select([size < 0, size == 1, size == 2], symbols, modulus + OPEN)[started]
        left = generator.integers(1, np.maximum(size - 3, 2))
        pending.push(encloses, close)
        pending.push(split, size - 3 - left)
        pending.push(split, ~signs[:, step])
        inner = np.where(split, left, np.where(encloses, size - 2, 1))
        pending.push(encloses | (size == 2), inner)
    return tokens


def evaluate_brackets(tokens: np.ndarray, modulus: int) -> Result:
    """Read from the left: an operation keeps its left side, and takes it again when its bracket closes."""
    rows, time = tokens.shape
    before = np.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=modulus + OPEN)
    is_digit = tokens < modulus
    is_sign = (tokens >= modulus) & (tokens < modulus + OPERATIONS)
    joins = is_sign & ((before < modulus) | (before == modulus + CLOSE))
    negated = (before == modulus + MINUS) & ~np.pad(joins[:, :-1], ((0, 0), (1, 0)))
    lefts, depths, signs = (Stacks(rows, time) for _ in range(3))
    value, depth = np.zeros((2, rows), dtype=np.int64)
    for step in range(time):
        token = tokens[:, step]
        value = np.where(is_digit[:, step], np.where(negated[:, step], -token, token) % modulus, value)
        depth = np.where(is_digit[:, step], 0, depth)
        opens, closes, join = token == modulus + OPEN, token == modulus + CLOSE, joins[:, step]
        signs.push(opens, np.full(rows, EQUALS))
        signs.pop(join)
        for stack, numbers in ((signs, token - modulus), (lefts, value), (depths, depth)):
            stack.push(join, numbers)
        sign = signs.pop(closes)
        joined = closes & (sign != EQUALS)
        value = np.where(joined, _apply(sign, lefts.pop(joined), value, modulus), value)
        depth = np.where(joined, 1 + np.maximum(depths.pop(joined), depth), depth)
    return Result(value, joins.sum(axis=1), depth)


def _draw_symbols(generator: np.random.Generator, modulus: int, rows: int, time: int) -> tuple[np.ndarray, np.ndarray]:
    """A number and an operation for each place, ``(b, t)`` each."""
    shape = (rows, time)
    return generator.integers(modulus, size=shape), modulus + generator.integers(OPERATIONS, size=shape)


def _apply(sign: np.ndarray, left: np.ndarray, right: np.ndarray, modulus: int) -> np.ndarray:
    return np.select([sign == PLUS, sign == MINUS], [left + right, left - right], left * right) % modulus
