"""Weaken the laws, one place at a time, and see whether some control then slips through.

    pytest tests/laws/test_mutations.py

A mutant is one module of laws with one check taken out: its ``raise LawViolation`` does nothing. A check is worth its
lines if without it some control is no longer caught by its law, or no longer told as it was.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from zoo.testing import laws
from zoo.testing.kinds import SUITES, Suite
from zoo.testing.law import Law
from zoo.testing.member import MemberSubject, search_member
from zoo.testing.search import search
from zoo.testing.subject import Subject

from .messages import MESSAGES

FOLDER = Path(laws.__file__).parent
ELSEWHERE = {"__init__", "ranks", "executor"}
"""What has no laws; the law that several processes ask together, which test_sharded.py is about; and laws whose
controls start processes and wait for them, minutes for each mutant."""

MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ELSEWHERE)


@dataclass(frozen=True)
class Mutant:
    """One module of laws with one check taken out, or none at line 0."""

    module: str
    line: int = 0
    function: str = ""

    def __str__(self) -> str:
        return f"{self.module}-{self.function}-{self.line}"

    def laws(self) -> list[Law]:
        """The laws of the mutated module."""
        original = importlib.import_module(f"zoo.testing.laws.{self.module}")
        mutated = ModuleType(original.__name__)
        mutated.__dict__.update(__file__=original.__file__, __package__=original.__package__)
        tree = ast.fix_missing_locations(_TakeOut(self.line).visit(_parse(self.module)))
        exec(compile(tree, str(FOLDER / f"{self.module}.py"), "exec"), mutated.__dict__)
        return [value for value in vars(mutated).values() if isinstance(value, Law)]


class _TakeOut(ast.NodeTransformer):
    """Take out the check at one line."""

    def __init__(self, line: int) -> None:
        self.line = line

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if node.lineno == self.line and _is_check(node) else node


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of one module."""
    tree = _parse(module)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    innermost = {node: function for function in functions for node in ast.walk(function)}  # inner ones come later
    for node in ast.walk(tree):
        if _is_check(node):
            yield Mutant(module, node.lineno, innermost[node].name)


def _is_check(node: ast.AST) -> bool:
    called = node.exc.func if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) else None
    return isinstance(called, ast.Name) and called.id == "LawViolation"


def _parse(module: str) -> ast.Module:
    return ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))


def kind_of_module(module: str) -> str:
    """The first kind that has a law of a module: its controls judge the module."""
    name = f"{laws.__name__}.{module}"
    return next(
        kind for kind, suite in SUITES.items() if any(law.check.__module__ == name for law in suite.laws.values())
    )


@cache
def _subject(suite: Suite, mixer: type) -> Subject:
    return suite.subject(mixer)[1]


def escaped(mutant: Mutant, broken: list[tuple[str, type]]) -> str | None:
    """A control that the mutant no longer catches, or no longer tells rightly; None if there is none."""
    suite = SUITES[kind_of_module(mutant.module)]
    # a module may have laws of several kinds under one id
    own = {name: law.check.__name__ for name, law in suite.laws.items()}
    weakened = {law.id: law for law in mutant.laws() if law.check.__name__ == own.get(law.id)}
    suspects = [pair for pair in broken if pair[0] in weakened]
    # the function that was changed is mostly called like its law: its controls are tried first
    suspects.sort(key=lambda pair: pair[0].replace("-", "_") not in mutant.function)
    for law, mixer in suspects:
        subject = _subject(suite, mixer)
        look = search_member if isinstance(subject, MemberSubject) else search
        breach = look(weakened[law], subject, examples=20, seed=0).breach
        told = MESSAGES.get((law, mixer.__name__), "")
        if breach is None or not re.match(told, breach[1]):
            return f"{law}: {mixer.__name__}"
    return None
