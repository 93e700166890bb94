"""What a model learns from a text: to predict the next token, or the tokens that were masked."""

from typing import TYPE_CHECKING, Any, ClassVar

from zoo.errors import UsageError
from zoo.plugin.options import check_options, did_you_mean

if TYPE_CHECKING:
    from zoo.data.source import Source
    from zoo.plugin.pattern import Call


class Objective:
    """What a model learns from a text. Options are the keyword parameters of ``__init__``, as those of a mixer are."""

    name: ClassVar[str]
    """As ``--objective`` takes it."""

    causal: ClassVar[bool] = False
    """Whether only causal mixers can learn it, and whether a model that has learned it continues a text."""

    extra_tokens: ClassVar[int] = 0
    """Tokens that it adds behind those of the tokenizer."""

    def source(self, text: "Source") -> "Source":
        """The text as what it makes of it.

        Raises:
            UsageError: it cannot be learned from this data.
        """
        raise NotImplementedError


class NextToken(Objective):
    """Predict each token from those before it."""

    name = "next-token"
    causal = True

    def source(self, text: "Source") -> "Source":
        """The text itself."""
        return text


class Masked(Objective):
    """Predict masked tokens from those on both sides of them (Devlin et al. 2019, arXiv:1810.04805).

    Options:
        rate: the fraction of the tokens that are predicted
    """

    name = "masked"
    extra_tokens = 1

    def __init__(self, rate: float = 0.15) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"rate={rate:g} should be greater than 0 and less than 1, e.g. 0.15")
        self.rate = rate

    def source(self, text: "Source") -> "Source":
        """The text with some of its tokens masked."""
        from zoo.data.dataset import Dataset
        from zoo.data.masked import MaskedText  # and with it torch, for which the settings do not wait

        if not isinstance(text, Dataset):
            raise UsageError(f"the objective masked learns from one text with a tokenizer, and {text.name} is none")

        return MaskedText(text, self.rate)


OBJECTIVES: dict[str, type[Objective]] = {cls.name: cls for cls in (NextToken, Masked)}

DEFAULT_OBJECTIVE = NextToken.name


def read_objective(text: str) -> Objective:
    """The objective of that name, with its options in parentheses if any: ``masked(rate=0.3)``.

    Raises:
        PatternError: text that cannot be read.
        UsageError: an unknown name or option, or a value out of range.
    """
    if text == DEFAULT_OBJECTIVE:  # the common case, which does not wait for the parser
        return NextToken()
    call = _call(text)
    cls = OBJECTIVES.get(call.name)
    if cls is None:
        hint = did_you_mean(call.name, OBJECTIVES)
        raise UsageError(f"there is no objective {call.name!r}{hint}; there are: {', '.join(OBJECTIVES)}")
    options: dict[str, Any] = check_options(cls, call.keywords, cls.name)
    try:
        return cls(**options)
    except ValueError as error:
        raise UsageError(f"{cls.name}: {error}") from error


def canonical_objective(text: str) -> str:
    """The same objective in canonical form.

    Raises:
        PatternError, UsageError: as `read_objective`.
    """
    read_objective(text)
    return text if text == DEFAULT_OBJECTIVE else str(_call(text))


def _call(text: str) -> "Call":
    from zoo.plugin.pattern import parse_call

    return parse_call(text)
