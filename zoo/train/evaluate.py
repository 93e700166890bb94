"""The validation loss and a sample of text."""

import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F

from zoo.backbone import IGNORE, Backbone
from zoo.data.batches import evaluation_windows
from zoo.data.tokenizers import Tokenizer
from zoo.errors import UsageError
from zoo.generate import sample_tokens


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def evaluation_loss(
    model: Backbone, tokens: np.ndarray, *, batch: int, precision: str, limit: int | None = None
) -> float:
    """The cross-entropy in nats per token, each token predicted from its own window of the model's context length.

    Args:
        model: is put back into the mode (training or not) in which it came.
        tokens: the validation split.
        batch: windows at a time.
        precision: ``"fp32"`` or ``"bf16"``.
        limit: measure about so many tokens, in windows spread over the split; None takes them all.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for inputs, targets in evaluation_windows(tokens, context=model.context, batch=batch, limit=limit):
        with autocast(device, precision):
            logits = model(inputs.to(device)).logits
        scored = targets.to(device).flatten()
        losses = F.cross_entropy(logits.flatten(0, 1).float(), scored, ignore_index=IGNORE, reduction="sum")
        total += losses.item()
        count += int((targets != IGNORE).sum())
    model.train(was_training)
    return total / count if count else math.nan


def sample_text(model: Backbone, tokenizer: Tokenizer, *, prompt: str, tokens: int, seed: int) -> str:
    """A prompt and its continuation."""
    try:
        ids = tokenizer.encode(prompt)
    except UsageError:  # the vocabulary of a small text may lack the characters of the default prompt
        ids, prompt = np.zeros(1, dtype=np.int64), ""
    device = next(model.parameters()).device
    pieces = sample_tokens(
        model.eval(),
        torch.as_tensor(ids.astype(np.int64), device=device)[None],
        tokens=tokens,
        temperature=0.8,
        seed=seed,
    )
    text = prompt + tokenizer.decode([int(piece) for piece in pieces])
    model.train()
    return text
