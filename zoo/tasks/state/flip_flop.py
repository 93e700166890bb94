"""Flip-flop languages: a bit that is written, ignored and read, and one whose writes can be taken back."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.limits import check_least, check_lengths

READ = 2
IGNORED = 3
WRITE = 4
UNDO = 5


class FlipFlop(Task):
    """Flip-flop language: bits are written, ignored and read, and a read gives the bit that was written last.

        w 1 i 0 r 1 i 1 w 0 i 1 r 0        targets, under each r: 1 and 0

    Instructions and bits take turns. The first instruction is w, the last is r; each between is i with the probability
    `ignore`, and else w or r, both as likely. The bits behind w and i are drawn at random. Only the bit behind an r is
    asked for, at the r. A single bit of memory is enough, and whatever is ignored must not touch it.

    Options:
        length: tokens of a sequence, even.
        ignore: the probability that an instruction is i, in training.
        test_ignore: the same in the test; None for that of training.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an odd length, or one below 4; a probability that is not between 0 and 1.

    Source: Liu et al. 2023, "Exposing Attention Glitches with Flip-Flop Language Modeling", arXiv:2306.00946, with
    512 tokens, ignore=0.8, and tests that are sparse (0.98) and dense (0.1); here the length is scaled down. The slices
    tell the accuracy by the distance from the r back to the w that it reads, in powers of two.
    """

    paper: ClassVar[str] = "Liu et al. 2023, arXiv:2306.00946"
    suite: ClassVar[str | tuple[str, ...]] = "state"
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.999
    vocab_size = 5

    def __init__(
        self,
        *,
        length: int = 128,
        ignore: float = 0.8,
        test_ignore: float | None = None,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, examples=examples)
        for name, share in {"ignore": ignore, "test_ignore": test_ignore}.items():
            if share is not None and not 0 < share < 1:
                raise ValueError(f"{name}={share} should be more than 0 and less than 1")
        self.test_lengths = check_lengths(length, test_lengths, least=4, why="a bit written, and read", even=True)
        self.length, self.train_examples = length, examples
        self.ignore = ignore
        self.test_ignore = ignore if test_ignore is None else test_ignore

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test with its own probability of i."""
        ignore = self.test_ignore if test else self.ignore
        shape = (examples, length // 2)
        chance = generator.random(shape)
        instructions = np.where(chance < ignore, IGNORED, np.where(chance < (1 + ignore) / 2, WRITE, READ))
        instructions[:, 0], instructions[:, -1] = WRITE, READ
        bits = generator.integers(2, size=shape)
        writes = np.maximum.accumulate(np.where(instructions == WRITE, np.arange(length // 2), 0), axis=1)
        read = instructions == READ
        bits = np.where(read, np.take_along_axis(bits, writes, axis=1), bits)

        inputs = np.stack([instructions, bits], axis=2).reshape(examples, length)
        targets, distance = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        targets[:, 0::2] = np.where(read, bits, IGNORE)
        distance[:, 0::2] = np.where(read, power_of_two(2 * (np.arange(length // 2) - writes)), 0)
        return Examples(inputs, targets, slices={"distance to the write": distance})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """Where most is ignored, the bit that was written and read most often; else the last bit of any kind.

        Neither has to tell which write was the last.
        """
        bits = inputs[:, 1::2]
        if self.test_ignore >= 1 / 2:
            counts = np.cumsum(np.where(inputs[:, 0::2] == IGNORED, 0, 2 * bits - 1), axis=1)
            bits = np.where(counts == 0, bits[:, :1], counts > 0)
        guesses = np.zeros_like(inputs)
        guesses[:, 2::2] = bits[:, :-1]
        return guesses

    def symbol(self, token: int) -> str:
        """``0`` and ``1``, ``r`` for reading, ``i`` for ignoring, and ``w`` for writing."""
        return "01riw"[token]


class UndoFlipFlop(Task):
    """Flip-flop with undo: bits are written, ignored and read, and u takes back the last write that still stands.

        w 1 i 0 w 0 r u i 0 r        targets: 0 at the first r, 1 at the second

    A bit follows each w and i, and none an r or u. The first instruction is w, and the last token is r. Each
    instruction between is i, r and u with the probabilities of the options, and w else; where only one write stands, u
    gives its probability to w, and where one place is left before the last, w and i give theirs to r and u in
    proportion. All bits are drawn at random. The bit of the last write that still stands is asked for at each r, so
    that the writes are a stack.

    Options:
        length: tokens of a sequence.
        ignore: the probability that an instruction is i.
        read: the probability that it is r.
        undo: the probability that it is u.
        test_undos: test with so many u in a row, behind one w more than that, and nothing but i between them and the
            last r; None tests what training draws.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: a length below 3, or too short for the undos of the test, of which there are 2 or more;
            probabilities that are below 0 or leave nothing for w.

    Source: Zhou 2026, "The UNDO Flip-Flop: A Controlled Probe for Reversible Semantic State Management in State Space
    Models", arXiv:2604.05923, who trains at lengths from 1 to 50 and tests those from 51 to 100; here all sequences are
    of one length. The slices tell the accuracy by the distance from the r back to the w that it reads, in powers of
    two, and by the write that it reads, counted back: 1 for the last one, 2 where one has been taken back since.
    """

    paper: ClassVar[str] = "Zhou 2026, arXiv:2604.05923"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99
    vocab_size = 6

    def __init__(
        self,
        *,
        length: int = 50,
        ignore: float = 0.8,
        read: float = 0.1,
        undo: float = 0.05,
        test_undos: int | None = None,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (100,),
    ) -> None:
        check_least(1, examples=examples)
        check_least(2, test_undos=test_undos)
        for name, share in {"ignore": ignore, "read": read, "undo": undo}.items():
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} should be at least 0 and less than 1")
        if ignore + read + undo >= 1:
            raise ValueError(f"ignore={ignore} + read={read} + undo={undo} should be less than 1: the rest writes")
        self.test_lengths = check_lengths(length, test_lengths, least=3, why="a bit written, and read")
        shortest = min((length, *test_lengths))
        if test_undos is not None and 3 * test_undos + 3 > shortest:
            raise ValueError(
                f"test_undos={test_undos} should be {shortest // 3 - 1} or fewer: so many, the writes that they take "
                f"back, and one more, of two tokens each, and a read fit into {shortest} tokens"
            )
        self.length, self.train_examples, self.test_undos = length, examples, test_undos
        self.ignore, self.read, self.undo = ignore, read, undo

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test with all undos in a row, if so many are set."""
        inputs = generator.integers(2, size=(examples, length))
        if test and self.test_undos is not None:
            self._write_in_a_row(inputs, self.test_undos)
        else:
            self._draw_instructions(generator, inputs)
        return _read_stack(inputs)

    def _write_in_a_row(self, inputs: np.ndarray, undos: int) -> None:
        """Put the instructions of the test between the bits, ``(b, t)``; a place too many is an r."""
        built = 2 * undos + 2
        inputs[:, 0:built:2] = WRITE
        inputs[:, built : built + undos] = UNDO
        rest = built + undos
        if (inputs.shape[1] - 1 - rest) % 2:
            inputs[:, rest] = READ
            rest += 1
        inputs[:, rest:-1:2] = IGNORED
        inputs[:, -1] = READ

    def _draw_instructions(self, generator: np.random.Generator, inputs: np.ndarray) -> None:
        """Put instructions between the bits, ``(b, t)``, each after what stands before it."""
        rows, length = inputs.shape
        chance = generator.random((rows, length))
        standing = np.ones(rows, dtype=np.int64)
        inputs[:, 0], free = WRITE, np.full(rows, 2)
        for time in range(2, length - 1):
            here = free == time
            undo = np.where(standing > 1, self.undo, 0)
            scale = self.read + undo if time == length - 2 else 1
            draw = chance[:, time] * scale
            instruction = np.where(draw < undo, UNDO, READ)
            if time < length - 2:
                bounds = undo + self.read, undo + self.read + self.ignore
                instruction = np.where(draw < bounds[0], instruction, np.where(draw < bounds[1], IGNORED, WRITE))
            inputs[here, time] = instruction[here]
            standing += np.where(here, (instruction == WRITE).astype(np.int64) - (instruction == UNDO), 0)
            free += np.where(here, np.where((instruction == UNDO) | (instruction == READ), 1, 2), 0)
        inputs[:, -1] = READ

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The bit that was written most often so far, taken back or not; of two as frequent, the first."""
        written = np.zeros_like(inputs)
        written[:, 1:] = np.where(inputs[:, :-1] == WRITE, 2 * inputs[:, 1:] - 1, 0)
        counts = np.cumsum(written, axis=1)
        return np.where(counts == 0, inputs[:, 1:2], counts > 0)

    def symbol(self, token: int) -> str:
        """``0`` and ``1``, ``r`` for reading, ``i`` for ignoring, ``w`` for writing, and ``u`` for undoing."""
        return "01riwu"[token]


def _read_stack(inputs: np.ndarray) -> Examples:
    """What each r of the tokens, ``(b, t)``, reads: the bit on top of the stack that w and u leave."""
    rows, length = inputs.shape
    row = np.arange(rows)
    stack = np.zeros((rows, length), dtype=np.int64)  # the position of each write that stands
    number = np.zeros((rows, length), dtype=np.int64)  # and the how-manieth it is
    standing, writes = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    targets, distance, back = np.full_like(inputs, IGNORE), np.zeros_like(inputs), np.zeros_like(inputs)
    for time in range(length):
        token = inputs[:, time]
        write, read = token == WRITE, token == READ
        stack[row[write], standing[write]], number[row[write], standing[write]] = time, writes[write]
        standing += write.astype(np.int64) - (token == UNDO)
        writes += write
        top = stack[row[read], standing[read] - 1]
        targets[read, time] = inputs[row[read], top + 1]
        distance[read, time] = time - top
        back[read, time] = writes[read] - number[row[read], standing[read] - 1]
    slices = {"distance to the write": power_of_two(distance), "write counted back": back}
    return Examples(inputs, targets, slices=slices)
