"""Sampling text from a model, token by token, by its streaming state."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from zoo.errors import UsageError, check_seed
from zoo.model.backbone import Backbone
from zoo.model.drawing import Sampling, check_finite, choose, choose_at
from zoo.model.linear import packed

MANY = 8
"""Beyond so many tokens it pays to lay the weights out for them."""

Prompt: TypeAlias = Tensor | np.ndarray | Sequence[int]
"""Tokens of one prompt, ``(t,)``, or as a tensor or an array also of several, ``(b, t)``."""


def generate(
    model: nn.Module,
    prompt: Prompt | Sequence[Prompt],
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
        prompt: tokens, e.g. of ``tokenizer.encode``: ``(t,)`` for a single prompt, ``(b, t)`` for several that are one
            tensor, or a list of prompts, each ``(t,)``, which may be of different lengths.
        tokens, temperature, top_k, top_p, seed: see `sample_tokens`, and for a list `sample_rows`.

    Returns:
        The sampled tokens, ``(b, n)`` or ``(n,)``, int64, without the prompt.

    Raises:
        UsageError: another model, a prompt that is no tokens of the model, or a value out of range.
        ZooError: logits that are not finite.
    """
    model = unwrapped(model)
    if _is_list_of_prompts(prompt):
        read = [_read_row(model, each, f"prompt[{index}]") for index, each in enumerate(prompt)]
        with evaluating(model):
            return sample_rows(model, read, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    rows = _read_prompt(model, prompt)
    with evaluating(model):
        sampled = sample_tokens(
            model, torch.atleast_2d(rows), tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
        drawn = torch.stack(list(sampled), dim=1)
    return drawn if rows.ndim == 2 else drawn[0]


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
    """Continue prompts of one length, a token at a time.

    Args:
        model: is asked by ``step``: each token costs one step, however long the text has become.
        prompt: ``(b, t)`` with t >= 1, int64.
        tokens: how many to sample. A model that takes only so many tokens at a time goes on from the last half of them.
        temperature, top_k, top_p: see `Sampling`.
        seed: of one generator for all rows: neither reads nor moves the global one.

    Yields:
        The sampled tokens, ``(b,)``, int64.

    Raises:
        UsageError: an empty prompt, or a value out of range.
        ZooError: logits that are not finite.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    rows = list(prompt)
    _check(rows, tokens, seed)
    generator = torch.Generator(prompt.device).manual_seed(seed)
    return islice(_steps(model, rows, lambda logits, _position: choose(logits, sampling, generator)), tokens)


def sample_rows(
    model: Backbone,
    prompts: Sequence[Tensor],
    *,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    numbers: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Continue prompts of any lengths, side by side.

    Each text is the one that its prompt gets alone, but for rounding: sums over other shapes have other last bits.
    Nothing is padded, because mixers know no padding. The tokens that all prompts have are the first step; then a row
    reads the next one of its own prompt, if there is one, and otherwise what was sampled for it. So a batch costs the
    longest prompt less the shortest, plus `tokens`, in steps.

    Args:
        model: see `sample_tokens`.
        prompts: ``(t,)`` each, int64, on the device of the model.
        tokens: how many to sample for each. A model that takes only so many tokens at a time goes on from the last half
            of them.
        temperature, top_k, top_p: see `Sampling`.
        seed: of all texts.
        numbers: of each text two, e.g. of its prompt and of the sample. With the seed they are what its draws depend
            on, and not what is beside it. By default the first counts the prompts and the second is 0.

    Returns:
        The sampled tokens, ``(b, tokens)``, int64.

    Raises:
        UsageError: no prompt or an empty one, or a value out of range.
        ZooError: logits that are not finite.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    _check(prompts, tokens, seed)
    order = sorted(range(len(prompts)), key=lambda row: len(_within_reach(model, prompts[row])))
    rows = [_within_reach(model, prompts[row]) for row in order]
    numbers = numbers or [(row, 0) for row in range(len(prompts))]
    device = rows[0].device
    levels = torch.stack([_levels(seed, numbers[row], tokens) for row in order]).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]

    def draw(logits: Tensor, position: int) -> Tensor:
        # a text that has all its tokens goes on unread, until the others have theirs
        place = (position - lengths[: len(logits)]).clamp(max=tokens - 1)
        return choose_at(logits, sampling, levels[: len(logits)].gather(1, place)[:, 0])

    shortest, longest = len(rows[0]), len(rows[-1])
    written = torch.stack(list(islice(_steps(model, rows, draw), longest - shortest + tokens)), dim=1)
    sampled = written.gather(1, lengths - shortest + torch.arange(tokens, device=device))
    return sampled[torch.tensor(order, device=device).argsort()]


def _steps(model: Backbone, rows: Sequence[Tensor], draw: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    """The tokens after the shortest prompt, as `_each_step` gives them; of many, by weights that are packed."""
    steps = _each_step(model, rows, draw)
    yield from islice(steps, MANY)
    with packed(model):
        yield from steps


def _each_step(model: Backbone, rows: Sequence[Tensor], draw: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
    """The tokens after the shortest prompt, ``(b,)`` a step, without end: of a row's own prompt, then drawn.

    Args:
        model: to ask.
        rows: prompts, ``(t,)``, the shortest first; if their lengths differ none is longer than the model takes.
        draw: a token for each of the first rows, from their logits, ``(b, vocabulary)``, and the position of the token.
    """
    lengths, limit = [len(row) for row in rows], model.max_length
    own = pad_sequence(list(rows), batch_first=True)  # to look tokens up in: the model never reads the padding
    text = piece = own[:, : lengths[0]]
    position, state = lengths[0], None
    while True:
        if limit is not None and text.shape[1] > limit:
            # Out of positions: go on from the second half of what it can see, as if the text began there.
            text = piece = text[:, -((limit + 1) // 2) :]
            state = None
        with torch.inference_mode():
            logits, state = model.step(piece, state, only_last=True)
            last = logits[:, -1].float()
            check_finite(last)
            free = bisect_right(lengths, position)
            token = draw(last[:free], position)
            if free < len(rows):
                token = torch.cat([token, own[free:, position]])
        yield token
        position += 1
        piece = token[:, None]
        if limit is not None:
            text = torch.cat([text, piece], dim=1)


def _within_reach(model: Backbone, prompt: Tensor) -> Tensor:
    """What a model goes on from: the prompt, or the last half of what it takes of one that is too long."""
    limit = model.max_length
    return prompt if limit is None or len(prompt) <= limit else prompt[-((limit + 1) // 2) :]


def _levels(seed: int, numbers: tuple[int, int], tokens: int) -> Tensor:
    """Uniform draws in [0, 1) for the tokens of a text, ``(tokens,)``; those of a longer one begin with them."""
    # of numpy, on the CPU: the same on every device
    generator = np.random.default_rng(np.random.SeedSequence(seed % 2**64, spawn_key=numbers))
    return torch.from_numpy(generator.random(tokens, dtype=np.float32))


def _is_list_of_prompts(prompt: Prompt | Sequence[Prompt]) -> TypeGuard[Sequence[Prompt]]:
    if isinstance(prompt, str | Tensor | np.ndarray):
        return False
    return any(isinstance(each, Sequence) or getattr(each, "ndim", 0) > 0 for each in prompt)


def _read_row(model: Backbone, prompt: object, name: str) -> Tensor:
    """One prompt of a list, ``(t,)``; an error says which."""
    try:
        row = _read_prompt(model, prompt)
        _check_prompt(row)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    if row.ndim != 1:
        raise UsageError(f"{name} is {tuple(row.shape)}: pass each prompt of a list as tokens, (t,)")
    return row


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


def _check(prompts: Sequence[Tensor], tokens: int, seed: int) -> None:
    if not prompts:
        raise UsageError("there is no prompt: give at least one")
    for prompt in prompts:
        _check_prompt(prompt)
    if tokens < 1:
        raise UsageError(f"tokens={tokens} should be 1 or more")
    check_seed(seed)


def _check_prompt(prompt: Tensor) -> None:
    if prompt.shape[-1] == 0:
        raise UsageError("the prompt is empty: give at least one token to start with")
