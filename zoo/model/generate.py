"""Sampling text from a model, token by token, by its streaming state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import UsageError, ZooError, check_seed
from zoo.model.backbone import Backbone


def generate(
    model: nn.Module,
    prompt: Tensor | np.ndarray | Sequence[int],
    *,
    tokens: int = 256,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Continue prompts with a model, in evaluation mode; its mode is as before afterwards.

    Args:
        model: of `zoo.build_model`, on any device, compiled or not.
        prompt: tokens, ``(b, t)``, or ``(t,)`` for a single prompt, e.g. of ``tokenizer.encode``.
        tokens, temperature, top_k, top_p, seed: see `sample_tokens`.

    Returns:
        The sampled tokens, ``(b, n)`` or ``(n,)``, int64, without the prompt.

    Raises:
        UsageError: another model, a prompt that is no tokens of the model, or a value out of range.
        ZooError: logits that are not finite.
    """
    model = unwrapped(model)
    read = _read_prompt(model, prompt)
    rows = read if read.ndim == 2 else read[None]
    with evaluating(model):
        sampled = sample_tokens(
            model, rows, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
        drawn = torch.stack(list(sampled), dim=1)
    return drawn if read.ndim == 2 else drawn[0]


def sample_tokens(
    model: Backbone,
    prompt: Tensor,
    *,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Continue prompts, a token at a time.

    Args:
        model: is asked by ``step``: each token costs one step, however long the text has become.
        prompt: ``(b, t)`` with t >= 1, int64.
        tokens: how many to sample. A model that takes only so many tokens at a time goes on from the last half of them.
        temperature: divides the logits; 0 takes the most likely token.
        top_k: sample among the k most likely tokens only; of equally likely ones, the first in the vocabulary.
        top_p: sample among the most likely tokens that together hold at least this probability (Holtzman et al. 2020,
            arXiv:1904.09751).
        seed: of a generator of its own: neither reads nor moves the global one.

    Yields:
        The sampled tokens, ``(b,)``, int64.

    Raises:
        UsageError: an empty prompt, or a value out of range.
        ZooError: logits that are not finite.
    """
    _check(prompt, tokens, temperature, top_k, top_p)
    check_seed(seed)
    generator = torch.Generator(prompt.device).manual_seed(seed)
    return _sample(model, prompt, tokens, lambda logits: choose(logits, temperature, top_k, top_p, generator))


def _sample(model: Backbone, text: Tensor, tokens: int, draw: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    piece, state, limit = text, None, model.max_length
    for _ in range(tokens):
        if limit is not None and text.shape[1] > limit:
            # Out of positions: go on from the second half of what it can see, as if the text began there.
            text = piece = text[:, -((limit + 1) // 2) :]
            state = None
        with torch.inference_mode():
            logits, state = model.step(piece, state)
            last = logits[:, -1].float()
            if not last.isfinite().all():
                raise ZooError("the model's prediction of the next token is not finite; `zoo inspect` names the part")
            token = draw(last)
        yield token
        piece = token[:, None]
        if limit is not None:
            text = torch.cat([text, piece], dim=1)


def choose(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator
) -> Tensor:
    """Draw one token a row from logits ``(b, vocabulary)``."""
    if temperature == 0:
        return logits.argmax(-1)
    smallest = torch.finfo(logits.dtype).tiny  # what is smaller would be rounded to zero
    logits = (logits - logits.amax(-1, keepdim=True)) / max(temperature, smallest)
    if top_k is not None and top_k < logits.shape[-1]:
        # a stable sort: of tokens that are equally likely the first ones are kept, as by argmax, and never more than k
        _, order = logits.sort(descending=True, stable=True)
        logits = logits.scatter(-1, order[:, top_k:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.softmax(-1).sort(descending=True, stable=True)
        unlikely = ordered.cumsum(-1) - ordered >= max(top_p, smallest)
        logits = logits.masked_fill(unlikely.scatter(-1, order, unlikely), -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def _read_prompt(model: Backbone, prompt: object) -> Tensor:
    """A prompt as int64 on the device of the model."""
    if isinstance(prompt, str):
        raise UsageError("the prompt is text and a model reads tokens: pass tokenizer.encode(prompt)")
    array = prompt if isinstance(prompt, Tensor) else torch.from_numpy(np.array(prompt, ndmin=1))
    if array.ndim not in (1, 2) or (array.numel() and (array.is_floating_point() or array.dtype == torch.bool)):
        raise UsageError(
            f"the prompt is {tuple(array.shape)} of {str(array.dtype).removeprefix('torch.')}: "
            "pass tokens, (b, t) or (t,), as whole numbers"
        )
    read = array.to(model.embedding.weight.device, torch.int64)
    if read.numel() and not 0 <= int(read.min()) <= int(read.max()) < model.vocabulary:
        raise UsageError(
            f"the prompt has tokens from {int(read.min())} to {int(read.max())}, and the model has those from 0 to "
            f"{model.vocabulary - 1}"
        )
    return read


def unwrapped(model: nn.Module) -> Backbone:
    """The language model in what `torch.compile` gives for it.

    Raises:
        UsageError: it is something else.
    """
    inner = getattr(model, "_orig_mod", model)
    if not isinstance(inner, Backbone):
        raise UsageError(f"a model of zoo.build_model is expected, and this is a {type(inner).__name__}")
    return inner


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode; each of its modules is in the mode of before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check(prompt: Tensor, tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    if prompt.shape[-1] == 0:
        raise UsageError("the prompt is empty: give at least one token to start with")
    if tokens < 1:
        raise UsageError(f"tokens={tokens} should be 1 or more")
    if not temperature >= 0:
        raise UsageError(f"temperature={temperature} should be 0 or more")
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k={top_k} should be 1 or more")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"top_p={top_p} should be greater than 0 and at most 1")
