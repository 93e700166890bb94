"""Continuing texts with a model and its tokenizer: one as it is sampled, or many side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.generate import sample_rows
from zoo.tokenizer import Tokenizer


@dataclass(frozen=True)
class Continuation:
    """A text that a model wrote.

    Attributes:
        prompt: what it was asked to continue.
        text: what follows.
        index: of the prompt among the prompts, from 0.
        sample: which continuation of the prompt it is, from 0.
    """

    prompt: str
    text: str
    index: int
    sample: int


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> Tensor:
    """The tokens of a prompt, ``(t,)``, int64; of an empty one the first of the vocabulary."""
    return torch.tensor([int(token) for token in tokenizer.encode(prompt)] or [0])


def decode_stream(tokenizer: Tokenizer, sampled: Iterator[Tensor]) -> Iterator[str]:
    """The text of tokens, ``(1,)`` each, in pieces as they come."""
    decoder = tokenizer.decoder()
    while True:
        with explaining():
            token = next(sampled, None)
        if token is None:
            break
        yield decoder.feed(int(token))
    yield decoder.flush()


def continue_texts(
    model: Backbone,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    samples: int = 1,
    batch: int = 16,
    tokens: int = 256,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[Continuation]:
    """Continue many prompts, side by side: yields each text once its batch is finished.

    Prompts of similar lengths share a batch, the shortest first; the texts of a batch have the order of `prompts`. What
    is drawn for a text depends on the seed and on its numbers, `index` and `sample`. What is beside it in the batch
    changes no more than the rounding of sums, which may tip the choice between tokens that are about equally likely.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        prompts: of any lengths; an empty one starts with the tokenizer's first token.
        samples: continuations of each prompt.
        batch: how many texts are written at the same time.
        tokens, temperature, top_k, top_p, seed: see `sample_rows`.

    Raises:
        UsageError: no prompts, a value out of range, or characters that the tokenizer does not know: of which prompt.
        PluginError: a part of the model fails.
    """
    check_counts(samples, batch)
    names = [f"prompt {number}: " if len(prompts) > 1 else "" for number in range(1, len(prompts) + 1)]
    encoded = [_encode(tokenizer, prompt, name) for prompt, name in zip(prompts, names, strict=True)]
    if not encoded:
        raise UsageError("there is no prompt: give at least one")
    texts = [(index, sample) for index in range(len(encoded)) for sample in range(samples)]
    device = next(model.parameters()).device

    def write(numbers: Sequence[tuple[int, int]]) -> Iterator[Continuation]:
        with explaining():
            sampled = sample_rows(
                model,
                [encoded[index].to(device) for index, _ in numbers],
                tokens=tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                numbers=numbers,
            )
        for (index, sample), row in zip(numbers, sampled.tolist(), strict=True):
            yield Continuation(prompts[index], tokenizer.decode(row), index, sample)

    batches = batch_by_length([len(encoded[index]) for index, _ in texts], batch, tokens)
    return (text for rows in batches for text in write([texts[row] for row in rows]))


def check_counts(samples: int, batch: int) -> None:
    """Refuse no samples, and no texts at a time.

    Raises:
        UsageError: which it is.
    """
    for name, value in (("samples", samples), ("batch", batch)):
        if value < 1:
            raise UsageError(f"`{name}`={value} should be 1 or more")


def batch_by_length(lengths: Sequence[int], batch: int, tokens: int) -> list[list[int]]:
    """Which prompts are continued side by side, as their places in `lengths`, the shortest first.

    A batch takes the longest less the shortest, plus `tokens`, in steps: where the difference is more than the tokens,
    two batches take fewer.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        full = not batches or len(batches[-1]) == batch
        if full or lengths[row] - lengths[batches[-1][0]] > tokens:
            batches.append([])
        batches[-1].append(row)
    return [sorted(rows) for rows in batches]


def _encode(tokenizer: Tokenizer, prompt: str, name: str) -> Tensor:
    """The tokens of a prompt; an error says which it is."""
    try:
        return encode_prompt(tokenizer, prompt)
    except UsageError as error:
        raise UsageError(f"{name}{error}") from None
