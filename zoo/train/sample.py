"""A glimpse of what a model does: text that it writes, or an example of its task that it answers."""

import numpy as np
import torch

from zoo.data.source import IGNORE, Source
from zoo.data.task_data import TaskData
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.generate import generate
from zoo.tokenizer import Tokenizer

PROMPT = "\n"


def sample(model: Backbone, source: Source, *, tokens: int, seed: int) -> str:
    """Text of so many tokens, or an answered example of a task, of a model in training mode."""
    if isinstance(source, TaskData):
        return answered_example(model, source)
    assert source.tokenizer is not None
    return sample_text(model, source.tokenizer, prompt=PROMPT, tokens=tokens, seed=seed)


def sample_text(model: Backbone, tokenizer: Tokenizer, *, prompt: str, tokens: int, seed: int) -> str:
    """A prompt and its continuation."""
    try:
        ids = tokenizer.encode(prompt)
    except UsageError:  # the vocabulary of a small text may lack the characters of the default prompt
        ids, prompt = np.zeros(1, dtype=np.int64), ""
    sampled = generate(model, ids, tokens=tokens, temperature=0.8, seed=seed)
    return prompt + tokenizer.decode(sampled.tolist())


@torch.no_grad()
def answered_example(model: Backbone, data: TaskData) -> str:
    """The first example of the test, with an arrow to the model's answer wherever one is scored: ``k3→v7``.

    Where the answer is wrong the right one stands behind it in brackets: ``k3→v2(v7)``.
    """
    batch = next(data.held_out(context=data.task.length, batch=1))
    device = next(model.parameters()).device
    said = model.eval()(batch.inputs.to(device)).logits[0].argmax(-1).tolist()
    model.train()
    scored = batch.targets[0] != IGNORE if batch.scored is None else batch.scored[0]
    symbol = data.task.symbol
    words = []
    for token, target, answer, asked in zip(
        batch.inputs[0].tolist(), batch.targets[0].tolist(), said, scored.tolist(), strict=True
    ):
        word = symbol(token)
        if asked:
            word += f"→{symbol(answer)}" + (f"({symbol(target)})" if answer != target else "")
        words.append(word)
    return " ".join(words)
