"""How a task wants text to be generated, and where it stops."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

import zoo
from zoo.tokenizer import Decoder

_KNOWN = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p"}


@dataclass(frozen=True)
class Generation:
    """How to generate.

    Attributes:
        stops: strings at the first of which the text ends; it is not part of it.
        tokens: the most that are generated.
        temperature: divides the logits; 0 takes the most likely token.
        top_k: sample among the k most likely tokens only.
        top_p: sample among the most likely tokens that together hold this probability.
    """

    stops: tuple[str, ...]
    tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None


def read_generation(wanted: Mapping[str, Any], task: str) -> Generation:
    """Read the ``generation_kwargs`` of a task. As elsewhere in the harness, what is not to be sampled is greedy.

    Raises:
        UsageError: a way to generate that the zoo does not have, or a value out of range.
    """
    try:
        read = dict(normalize_gen_kwargs(dict(wanted)))
        generation = Generation(
            stops=tuple(stop for stop in map(str, read["until"]) if stop),
            tokens=int(read["max_gen_toks"]),
            temperature=float(read.get("temperature", 1.0)) if read["do_sample"] else 0.0,
            top_k=_positive(read.get("top_k")),
            top_p=None if read.get("top_p") is None else float(read["top_p"]),
        )
    except (TypeError, ValueError) as error:
        raise zoo.UsageError(f"the generation_kwargs of the task {task} cannot be read: {error}") from None
    if unknown := sorted(set(read) - _KNOWN):
        raise zoo.UsageError(
            f"the task {task} asks to generate with {', '.join(unknown)}, which the zoo does not have: leave it out of "
            f"its generation_kwargs; there are {', '.join(sorted(_KNOWN))}"
        )
    return generation


def until_stop(sampled: Iterable[int], decoder: Decoder, stops: Sequence[str]) -> str:
    """The text of tokens that are sampled as they are asked for, up to the first stop string."""
    text = ""
    for token in sampled:
        text += decoder.feed(token)
        if (end := _first(text, stops)) is not None:
            return text[:end]
    text += decoder.flush()
    end = _first(text, stops)
    return text[:end]


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins; None if there is none."""
    return min((place for place in map(text.find, stops) if place >= 0), default=None)


def _positive(value: Any) -> int | None:
    """0 and -1 mean all tokens where tasks are written for other models."""
    return int(value) if value is not None and int(value) > 0 else None
