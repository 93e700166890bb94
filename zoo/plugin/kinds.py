"""The kinds of things that a plugin may bring: one row a kind, and everything else loops over the rows.

A new kind is a row here, a hook specification in `zoo.plugin.hookspecs`, a base class, a template of
`zoo.scaffold`, and its documentation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from zoo.errors import UsageError
from zoo.plugin.options import did_you_mean


@dataclass(frozen=True)
class Kind:
    """A kind of member.

    Args:
        name: as ``--kind`` takes it, e.g. ``"channel-mixer"``.
        plural: in words, e.g. ``"channel mixers"``.
        base: the class that every member inherits from, ``"module:Class"``; it is imported on first use.
        filled: parameters of a member's ``__init__`` that the host always gives, and that are no options.
        words: what one member is, in an error; by default its name.
    """

    name: str
    plural: str
    base: str
    filled: frozenset[str] = frozenset()
    words: str = ""

    @property
    def hook(self) -> str:
        """The hook through which plugins give members, e.g. ``zoo_channel_mixers``."""
        return f"zoo_{self.plural.replace(' ', '_')}"

    @property
    def base_name(self) -> str:
        """The base class as a plugin imports it, e.g. ``zoo.ChannelMixer``."""
        module, _, name = self.base.partition(":")
        return f"{'zoo' if module.startswith('zoo.') else module}.{name}"

    def load_base(self) -> type[Any]:
        """The base class itself."""
        module, _, name = self.base.partition(":")
        return getattr(import_module(module), name)

    def __str__(self) -> str:
        return self.words or self.name.replace("-", " ")


MIXER = Kind("mixer", "mixers", "zoo.contract:TokenMixer", frozenset({"dim"}))
CHANNEL_MIXER = Kind("channel-mixer", "channel mixers", "zoo.contract:ChannelMixer", frozenset({"dim"}))
RESIDUAL = Kind(
    "residual", "residuals", "zoo.residual:Residual", frozenset({"dim", "sites", "layers", "roles"}), "residual scheme"
)
TASK = Kind("task", "tasks", "zoo.task:Task")
CORPUS = Kind("corpus", "corpora", "zoo.corpus:Corpus")
TOKENIZER = Kind("tokenizer", "tokenizers", "zoo.tokenizer:Tokenizer")
HYBRID = Kind("hybrid", "hybrids", "zoo.hybrid:Hybrid")
EXECUTOR = Kind("executor", "executors", "zoo.executor:Executor", frozenset({"jobs"}))
REPORTER = Kind("reporter", "reporters", "zoo.reporter:Reporter")
OPTIMIZER = Kind("optimizer", "optimizers", "torch.optim:Optimizer", frozenset({"params", "lr", "weight_decay"}))

KINDS: tuple[Kind, ...] = (
    MIXER,
    CHANNEL_MIXER,
    RESIDUAL,
    TASK,
    CORPUS,
    TOKENIZER,
    OPTIMIZER,
    HYBRID,
    EXECUTOR,
    REPORTER,
)
"""All of them, in the order in which they are listed."""


def find_kind(name: str, *, also: Iterable[str] = ()) -> Kind:
    """The kind of that name, spelt with ``-``, ``_`` or a space, in the singular or the plural.

    Args:
        name: of the kind.
        also: what else could have been given, for the error.

    Raises:
        UsageError: there is no such kind.
    """
    wanted = name.strip().replace("_", "-").replace(" ", "-")
    for kind in KINDS:
        if wanted in (kind.name, kind.plural.replace(" ", "-")):
            return kind
    names = [*(kind.name for kind in KINDS), *also]
    raise UsageError(f"there is no kind {name!r}{did_you_mean(wanted, names)}; there are: {', '.join(names)}")
