"""What can be checked: a registered member of a kind, a class, or a whole model of a pattern."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch import Tensor

from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.build import build_model, build_seeded
from zoo.model.create import create
from zoo.model.hybrids import write_out
from zoo.model.tracebacks import raised_at
from zoo.plugin import pattern as patterns
from zoo.plugin import registry
from zoo.plugin.kinds import MIXER, Kind
from zoo.plugin.options import FILLED_BY_HOST, Option, check_given
from zoo.plugin.registry import Entry, Origin
from zoo.testing.running import evaluating, write
from zoo.testing.whole_model import VOCABULARY, WholeModel

SHAPES = ((8, 1), (8, 2), (16, 4), (12, 3), (8, 4), (64, 8), (16, 2), (32, 2), (64, 4), (128, 4))
"""Model widths and heads to try, small ones first: what goes wrong is easier to see in them."""

ENOUGH_SHAPES = 7

LAYERS = 4
"""Layers of the model that a mixer is in, if it asks."""

LONGEST = 12
"""Tokens of the longest case, which is the context that a mixer gets, if it asks."""


class Sizes(NamedTuple):
    """How large a case is: rows, tokens, model width, heads."""

    batch: int
    time: int
    dim: int
    heads: int


@dataclass(frozen=True)
class Subject:
    """What is checked: here a module of one width that maps ``(b, t, d)`` to ``(b, t, d)``, or a whole model.

    A kind whose members are something else has a subclass that says how one is built and run.

    Args:
        label: how the user names it.
        entry: the member, or None for a whole model.
        pattern: of the whole model.
        given: options that stay as they are; the others are drawn.
    """

    label: str
    entry: Entry[Any] | None
    pattern: patterns.Pattern | None
    given: Mapping[str, Any]

    @property
    def whole_model(self) -> bool:
        """Whether it reads tokens and writes logits."""
        return self.entry is None

    @property
    def causal(self) -> bool:
        """Whether it says that no write depends on later reads."""
        return self.entry is None or getattr(self.entry.cls, "causal", True)

    @property
    def free_options(self) -> tuple[Option, ...]:
        """The options that are drawn."""
        options = self.entry.options if self.entry else ()
        return tuple(option for option in options if option.name not in FILLED_BY_HOST | set(self.given))

    @property
    def expected_failures(self) -> Mapping[str, str]:
        """What the mixer itself says that it cannot keep."""
        return getattr(self.entry.cls, "expected_failures", {}) if self.entry else {}

    def takes(self, option: str) -> bool:
        """Whether the mixer has an option of that name."""
        return self.entry is not None and any(known.name == option for known in self.entry.options)

    def names(self, keyword: str, method: str = "forward") -> bool:
        """Whether `forward`, or another method, names a keyword that the host then passes to it."""
        owner = self.entry.cls if self.entry else Backbone
        return keyword in inspect.signature(getattr(owner, method)).parameters

    def run(self, member: Any, reads: Tensor) -> Tensor:
        """Run it in the plainest way, to see whether it runs."""
        return write(evaluating(member), reads)

    def build(self, options: Mapping[str, Any], *, dim: int, heads: int, seed: int, layer: int = 0) -> TokenMixer:
        """A mixer as its user would get it, or a model that is seen as one.

        Raises:
            UsageError: what the mixer refuses.
            PluginError: it fails to build.
        """

        def build() -> TokenMixer:
            if self.entry is None:
                assert self.pattern is not None
                # without positions of its own a model takes what its mixers take, whatever context it is trained on
                return WholeModel(build_model(self.pattern, vocab_size=VOCABULARY, dim=dim, heads=heads, context=1))
            chosen = {**self.given, **options}
            filled = {"dim": dim, "heads": heads, "layer_index": layer, "layers": LAYERS, "context": LONGEST}
            return cast(TokenMixer, create(self.entry, chosen, **filled))

        return build_seeded(seed, build)

    def prepare(self) -> None:
        """Find out how it can be built.

        Raises:
            UsageError: it cannot be.
        """
        self.shapes()

    @property
    def hint(self) -> str:
        """What to do about a member that refuses every value that was tried for its options."""
        required = ", ".join(f"{option.name}=…" for option in self.free_options if option.required)
        return f"give the required options with `options`='{required}'" if required else "fix some with `options`"

    def details(self, layer: int) -> list[str]:  # noqa: ARG002 - most say nothing
        """What else describes a case, ``name=value`` each; see `build` of the layer."""
        return []

    def shapes(self) -> list[tuple[int, int]]:
        """Some widths and numbers of heads that it can be built with.

        Raises:
            UsageError: it refuses all of them.
        """
        return self._shapes

    @cached_property
    def _shapes(self) -> list[tuple[int, int]]:
        taken, refusal = [], ""
        for dim, heads in SHAPES:
            try:
                self.some_options(dim, heads)
            except UsageError as error:
                refusal = str(error)
            else:
                taken.append((dim, heads))
            if len(taken) == ENOUGH_SHAPES:
                break
        if not taken:
            dims = sorted({dim for dim, _ in SHAPES})
            text = f"{self.label} was tried with dim={dims}, and takes none of them: {refusal}"
            raise UsageError(f"{text}; {self.hint}")
        return taken

    def some_options(self, dim: int, heads: int) -> dict[str, Any]:
        """Values for the options that have no default, with which it can be built.

        Raises:
            UsageError: none of those tried are taken.
        """
        refusal = None
        for required in self._required():
            try:
                self.build(required, dim=dim, heads=heads, seed=0)
            except UsageError as error:
                refusal = error
            else:
                return required
        assert refusal is not None
        raise refusal

    def _required(self) -> list[dict[str, Any]]:
        """Values to try for the options that have no default."""
        among = {option.name: required_values(option) for option in self.free_options if option.required}
        return [
            {name: values[index % len(values)] for name, values in among.items() if values}
            for index in range(max(map(len, among.values()), default=1))
        ]


REQUIRED_VALUES = (1, 2, 4, 8, 3, 0.5, 1.0, 0.1, True, "a", None, (1,), (1, 1), (1, 1, 1), (0.5,), ("a",), ((1,),))
"""What is tried for an option that has no default, as a pattern spells it."""


def required_values(option: Option) -> list[Any]:
    """What is tried for an option that has no default: its choices, or of `REQUIRED_VALUES` those of its type."""
    return [value for value in (*option.choices, *REQUIRED_VALUES) if fits(option, value)]


def fits(option: Option, value: Any) -> bool:
    """Whether a value is of the type that an option takes."""
    try:
        option.check(value, "")
    except UsageError:
        return False
    return True


def entry_of(cls: type, kind: Kind = MIXER) -> Entry[Any]:
    """A class that is not registered, as if it were, under its own name."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
    return Entry(name, cls, Origin(cls.__module__, "", cls.__qualname__), kind)


def check_given_once(call: patterns.Call, given: Mapping[str, Any], text: str) -> None:
    """Refuse an option that stands in a call and beside it.

    Raises:
        UsageError: there is one.
    """
    for option in call.keywords:
        if option in given:
            raise UsageError(f"option {option!r} is given twice: in {text!r} and beside it")


def subject_of(mixer: str | type[TokenMixer], options: Mapping[str, Any] | None = None) -> Subject:
    """What a name, a pattern or a class stands for.

    Args:
        mixer: ``"correlation(max_lag=3)"`` is a mixer; a pattern of several layers, of mixers side by side or with a
            channel mixer is a whole model.
        options: of a single mixer, beside those in its name. They stay as they are; the others are drawn.

    Raises:
        UsageError: an unknown name or option, a pattern that cannot be read, options of a whole model.
        PluginError: the plugin of a mixer is broken or missing.
    """
    given = dict(options or {})
    if not isinstance(mixer, str):
        entry = entry_of(mixer)
        return Subject(mixer.__name__, entry, None, check_given(mixer, given, entry.name))
    pattern, _ = write_out(patterns.parse(mixer), None, registry.get_registry())
    layers = pattern.layers()
    if len(layers) == 1 and len(layers[0].mixers) == 1 and layers[0].channel is None:
        call = layers[0].mixers[0]
        entry = registry.get_registry()[MIXER].find(call.name)
        check_given_once(call, given, mixer)
        given = {**call.keywords, **given}
        label = str(patterns.Call(call.name, tuple(given.items())))
        return Subject(label, entry, None, check_given(entry.cls, given, entry.name))
    if given:
        raise UsageError(f"{mixer!r} is a whole model: write the options of its mixers into the pattern")
    return Subject(str(pattern), None, pattern, {})


def format_error(error: BaseException, subject: Subject) -> str:
    """An error in a line, with the place in the member's own file where it comes from."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    place = raised_at(error, subject.entry.cls) if subject.entry else None
    return f"{cause}, in {Path(place).name}" if place else cause
