"""Expressions are drawn as the published generators do it, and give what Python says."""

import ast
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from zoo import IGNORE
from zoo.data.task_data import TaskData
from zoo.plugin.pattern import parse_call
from zoo.tasks.depth.arithmetic import Arithmetic
from zoo.tasks.depth.stacks import Stacks

from .chance import counted, excess
from .solvers.depth import arithmetic

FORMS = ["prefix", "infix", "brackets"]


def drawn(examples=4000, *, test=False, **options):
    task = Arithmetic(**options)
    return task, task.draw(np.random.default_rng(0), examples, length=task.length, test=test)


def expressions_of(task, examples):
    """For each example the symbols of its expression."""
    for tokens in examples.inputs.tolist():
        symbols = [task.symbol(token) for token in tokens]
        yield symbols[task.form == "prefix" : symbols.index("=")]


def in_python(form, symbols):
    """The same expression in Python."""
    if form != "prefix":
        return "".join(symbols)
    while len(symbols) > 1:  # what an operation stands before is put in brackets, wherever both operands are complete
        at = next(i for i, symbol in enumerate(symbols) if symbol in "+-*" and not {*symbols[i + 1 : i + 3]} & {*"+-*"})
        symbols = [*symbols[:at], f"({symbols[at + 1]}{symbols[at]}{symbols[at + 2]})", *symbols[at + 3 :]]
    return symbols[0]


def depth_of(node):
    if isinstance(node, ast.BinOp):
        return 1 + max(depth_of(node.left), depth_of(node.right))
    return 0


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_python_finds_the_same(form, test):
    task, examples = drawn(300, form=form, modulus=11, length=36, test=test)
    for row, symbols in enumerate(expressions_of(task, examples)):
        text = in_python(form, symbols)
        tree = ast.parse(text, mode="eval").body
        operations = sum(isinstance(node, ast.BinOp) for node in ast.walk(tree))
        end = len(symbols) + (form == "prefix")
        assert examples.targets[row].tolist() == [IGNORE] * end + [eval(text) % 11] + [IGNORE] * (35 - end)
        assert examples.slices["operations"][row] == operations > 0
        if form == "infix":
            assert "depth" not in examples.slices
        else:
            assert examples.slices["depth"][row] == depth_of(tree)


def prefix_shapes(operations):
    """The published expressions with so many operations, each with its probability."""
    if operations == 0:
        return {"d": 1.0}
    shapes = Counter()
    for left in range(operations):
        for first, chance in prefix_shapes(left).items():
            for second, other in prefix_shapes(operations - 1 - left).items():
                shapes["o" + first + second] += chance * other / operations
    return shapes


def bracket_shapes(tokens):
    if tokens < 5:
        return {["d", "-d", "(d)", "(-d)"][tokens - 1]: 1.0}
    shapes = Counter()
    for left in range(1, tokens - 3):
        for first, chance in bracket_shapes(left).items():
            for second, other in bracket_shapes(tokens - 3 - left).items():
                shapes[f"({first}o{second})"] += chance * other / (tokens - 4)
    return shapes


def shape_of(form, symbols):
    shape = re.sub(r"\d", "d", "".join(symbols))
    return re.sub(r"[-+*]", "o", shape) if form == "prefix" else re.sub(r"(?<=[d)])[-+*]", "o", shape)


@pytest.mark.parametrize(
    ("form", "length", "shapes"), [("prefix", 11, prefix_shapes(4)), ("brackets", 15, bracket_shapes(14))]
)
def test_shapes_are_as_likely_as_the_published_recursion_makes_them(form, length, shapes):
    assert sum(shapes.values()) == pytest.approx(1)
    task, examples = drawn(6000, form=form, modulus=5, length=length, test=True)
    counts = Counter(shape_of(form, symbols) for symbols in expressions_of(task, examples))
    assert set(counts) == set(shapes)
    ours = [counts[shape] for shape in shapes]
    assert abs(excess(ours, list(shapes.values()))) < 4
    assert excess(ours, np.full(len(shapes), 1 / len(shapes))) > 10


@pytest.mark.parametrize("form", FORMS)
def test_numbers_and_operations_are_drawn_evenly(form):
    task, examples = drawn(form=form, modulus=7, length=20)
    symbols = Counter(symbol for expression in expressions_of(task, examples) for symbol in expression)
    assert abs(excess([symbols[str(number)] for number in range(7)], np.full(7, 1 / 7))) < 4
    shapes = Counter("".join(re.findall(r"(?<=[\d)])[-+*]|^[-+*]", "".join(e))) for e in expressions_of(task, examples))
    operations = Counter("".join(shape * count for shape, count in shapes.items()))
    assert abs(excess([operations[sign] for sign in "+-*"], np.full(3, 1 / 3))) < 4


@pytest.mark.parametrize(
    ("form", "length", "sizes"),
    [
        ("prefix", 14, [3, 5, 7, 9, 11]),
        ("prefix", 15, [3, 5, 7, 9, 11, 13]),
        ("infix", 12, [3, 5, 7, 9, 11]),
        ("infix", 13, [3, 5, 7, 9, 11]),
        ("brackets", 12, [5, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_sizes_are_drawn_evenly_in_training_and_the_test_has_the_longest(form, length, sizes):
    task, examples = drawn(form=form, length=length)
    counts = Counter(map(len, expressions_of(task, examples)))
    assert sorted(counts) == sizes
    assert abs(excess(list(counts.values()), np.full(len(sizes), 1 / len(sizes)))) < 4
    task, examples = drawn(50, form=form, length=length, test=True)
    assert set(map(len, expressions_of(task, examples))) == {sizes[-1]}


def test_multiplication_goes_first_in_infix():
    task, examples = drawn(3000, form="infix", modulus=5, length=8, test=True)
    left_to_right = wrong = 0
    for symbols, targets in zip(expressions_of(task, examples), examples.targets, strict=True):
        value = int(symbols[0])
        for sign, number in zip(symbols[1::2], symbols[2::2], strict=True):
            value = eval(f"{value}{sign}{number}")
        left_to_right += value % 5 == targets[7]
        wrong += eval("".join(symbols)) % 5 != targets[7]
    assert wrong == 0
    assert left_to_right < 2400


@pytest.mark.parametrize(("form", "modulus", "length", "level"), [("infix", 5, 40, 0.2), ("brackets", 5, 40, 0.3)])
def test_guessing_is_what_the_documentation_says(form, modulus, length, level):
    task = Arithmetic(form=form, modulus=modulus, length=length)
    answers = counted(
        drawn(4000, form=form, modulus=modulus, length=length, test=True)[1].targets[:, length - 1 :], modulus
    )
    assert answers.max() / 4000 == pytest.approx(level, abs=0.03)
    assert task.solved > level


def test_each_example_of_the_page_is_one_of_its_form():
    page = Path(__file__).parents[2] / "docs" / "tasks" / "depth.md"
    found = re.findall(
        r"^(arithmetic\(.+)\nreads +(.+)\nanswers +(.+)\n```", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    forms = []
    for called, reads, answers in found:
        options = parse_call(called).keywords
        symbols, said = reads.split(), answers.split()
        task = Arithmetic(**options)
        assert len(symbols) == len(said) == task.length
        assert {time: answer for time, answer in enumerate(said) if answer != "_"} == arithmetic(symbols, **options)
        forms.append(task.form)
    assert forms == FORMS


def test_stacks():
    stacks = Stacks(3, 2)
    stacks.push(np.array([True, True, False]), np.array([5, 6, 7]))
    stacks.push(np.array([False, True, True]), np.array([8, 9, 4]))
    assert stacks.height.tolist() == [1, 2, 1]
    assert stacks.pop(np.array([True, True, False])).tolist() == [5, 9, 0]
    assert stacks.pop(np.array([False, True, True])).tolist() == [0, 6, 4]
    assert stacks.height.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "symbols"),
    [
        ({"length": 8}, "0 1 2 + - * = · ⟨1⟩ ⟨2⟩"),
        ({"length": 5, "test_lengths": (9,)}, "0 1 2 + - * = · ⟨1⟩ ⟨2⟩ ⟨3⟩"),
        ({"form": "infix"}, "0 1 2 + - * = ·"),
        ({"form": "brackets"}, "0 1 2 + - * = · ( )"),
    ],
)
def test_symbols(options, symbols):
    task = Arithmetic(modulus=3, **options)
    assert " ".join(map(task.symbol, range(task.vocab_size))) == symbols


FORMAL = {"modulus": 5, "length": 40}


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ({}, "acdbeb1aba78a08c 7e15a5c87f7c6e5a"),
        ({"form": "infix", **FORMAL}, "9e6fa54d1b54b9ae 43bfb35d1125f888"),
        ({"form": "brackets", **FORMAL}, "c0fb775a38625ddb 7c6af8f7f20400cf"),
    ],
)
def test_the_first_batches_are_those_that_were_recorded(options, recorded):
    task = Arithmetic(**options)
    data = TaskData(task, "arithmetic")
    batch = data.draw(context=task.length, batch=16, step=0, seed=0)
    first = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    assert f"{first[:16]} {data.sha256[:16]}" == recorded
