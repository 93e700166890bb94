"""The kinds whose members have laws: what their laws are, and how a name or a class becomes something to check.

A kind that is to have laws is a module of laws, and a row here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.plugin import kinds
from zoo.plugin import pattern as patterns
from zoo.plugin.kinds import Kind, find_kind
from zoo.plugin.local import find_class
from zoo.plugin.members import kind_of_class
from zoo.plugin.options import check_given
from zoo.plugin.registry import get_registry
from zoo.testing.law import Law
from zoo.testing.laws import LAWS
from zoo.testing.laws.channel import CHANNEL_LAWS
from zoo.testing.laws.corpus import CORPUS_LAWS, CorpusCase
from zoo.testing.laws.executor import EXECUTOR_LAWS, ExecutorCase
from zoo.testing.laws.hybrid import HYBRID_LAWS, HybridCase
from zoo.testing.laws.optimizer import OPTIMIZER_LAWS
from zoo.testing.laws.reporter import REPORTER_LAWS, ReporterCase
from zoo.testing.laws.residual import RESIDUAL_LAWS
from zoo.testing.laws.task import TASK_LAWS, TaskCase
from zoo.testing.laws.tokenizer import TOKENIZER_LAWS, TokenizerCase
from zoo.testing.member import MemberCase, MemberSubject
from zoo.testing.optimizer import OptimizerCase
from zoo.testing.residual import ResidualSubject
from zoo.testing.subject import Subject, check_given_once, entry_of, subject_of

Finder: TypeAlias = Callable[[str | type, Mapping[str, Any] | None], Subject]
"""Makes a subject of a name or a class, and of the options that stay as they are."""


@dataclass(frozen=True, eq=False)
class Suite:
    """The laws that hold for the members of a kind.

    Attributes:
        kind: of the members.
        laws: by id, in the order in which they are asked.
        find: makes a subject of a name or a class.
    """

    kind: Kind
    laws: Mapping[str, Law]
    find: Finder

    def subject(self, member: str | type, options: Mapping[str, Any] | None = None) -> "tuple[Suite, Subject]":
        """What a name or a class stands for, and the laws that hold for it.

        A token mixer in the place of a channel mixer has a state, and stays a token mixer.

        Raises:
            UsageError: an unknown name or option.
            PluginError: the plugin of the member is broken or missing.
        """
        found = self.find(member, options)
        stateful = self is not MIXER and found.entry is not None and issubclass(found.entry.cls, TokenMixer)
        return (MIXER if stateful else self), found


def finder(kind: Kind, make: Callable[..., Subject]) -> Finder:
    """The finder of a kind whose members are written as one call.

    Args:
        kind: of the members.
        make: takes a label, an entry, no pattern, and the options that stay.
    """

    def find(member: str | type, options: Mapping[str, Any] | None) -> Subject:
        given = dict(options or {})
        if not isinstance(member, str):
            entry = entry_of(member, kind)
            return make(member.__name__, entry, None, check_given(member, given, entry.name, filled=kind.filled))
        call = patterns.parse_call(member)
        entry = get_registry()[kind].find(call.name)
        if getattr(entry.cls, "empty", False):
            raise UsageError(f"{entry.name} is the absence of a {kind}: there is nothing to check")
        check_given_once(call, given, member)
        checked = check_given(entry.cls, {**call.keywords, **given}, entry.name, filled=kind.filled)
        return make(str(patterns.Call(call.name, tuple(checked.items()))), entry, None, checked)

    return find


MIXER = Suite(kinds.MIXER, LAWS, subject_of)
CHANNEL_MIXER = Suite(kinds.CHANNEL_MIXER, CHANNEL_LAWS, finder(kinds.CHANNEL_MIXER, Subject))
RESIDUAL = Suite(kinds.RESIDUAL, RESIDUAL_LAWS, finder(kinds.RESIDUAL, ResidualSubject))


def _of_members(kind: Kind, laws: Mapping[str, Law], case_type: type[MemberCase]) -> Suite:
    return Suite(kind, laws, finder(kind, partial(MemberSubject, case_type=case_type)))


TASK = _of_members(kinds.TASK, TASK_LAWS, TaskCase)
CORPUS = _of_members(kinds.CORPUS, CORPUS_LAWS, CorpusCase)
TOKENIZER = _of_members(kinds.TOKENIZER, TOKENIZER_LAWS, TokenizerCase)
OPTIMIZER = _of_members(kinds.OPTIMIZER, OPTIMIZER_LAWS, OptimizerCase)
HYBRID = _of_members(kinds.HYBRID, HYBRID_LAWS, HybridCase)
EXECUTOR = _of_members(kinds.EXECUTOR, EXECUTOR_LAWS, ExecutorCase)
REPORTER = _of_members(kinds.REPORTER, REPORTER_LAWS, ReporterCase)

SUITES: Mapping[str, Suite] = {
    suite.kind.name: suite
    for suite in (MIXER, CHANNEL_MIXER, RESIDUAL, TASK, CORPUS, TOKENIZER, OPTIMIZER, HYBRID, EXECUTOR, REPORTER)
}
"""By the names of their kinds."""


def suite_of(kind: str) -> Suite:
    """The laws of a kind.

    Raises:
        UsageError: there is no such kind, or none with laws.
    """
    name = find_kind(kind).name
    if name not in SUITES:
        raise UsageError(f"no law holds for {find_kind(kind).plural}; those of {', '.join(SUITES)} have laws")
    return SUITES[name]


def find_subject(member: str | type, options: Mapping[str, Any] | None = None) -> tuple[Suite, Subject]:
    """The laws that hold for a member of any kind, and the member.

    Args:
        member: a class; or ``KIND:NAME``, ``path/to/file.py:Class``, a pattern of mixers, or the name of a member of
            another kind where no mixer has it.
        options: that stay as they are.

    Raises:
        UsageError: an unknown kind, name or option, or a kind that has no laws.
        PluginError: the plugin of the member is broken or missing.
    """
    if isinstance(member, str):
        member = find_class(member) or member
    if not isinstance(member, str):
        found = kind_of_class(member)
        return suite_of(found.name if found else MIXER.kind.name).subject(member, options)
    prefix, colon, rest = member.partition(":")
    if colon and prefix in {kind.name for kind in kinds.KINDS}:
        return suite_of(prefix).subject(rest, options)
    return suite_of(_kind_named(member)).subject(member, options)


def _kind_named(member: str) -> str:
    """The kind that has a member of that name; mixers where none has it, and for a hybrid, which is a model of them."""
    if not (call := re.fullmatch(r"\s*([\w:-]+)\s*(\(.*\))?\s*", member, re.DOTALL)):
        return MIXER.kind.name
    registry, plain = get_registry(), call[1].rpartition(":")[2].replace("_", "-")
    having = [kind.name for kind in kinds.KINDS if any(entry.name == plain for entry in registry[kind].entries)]
    return having[0] if having and having[0] != HYBRID.kind.name else MIXER.kind.name
