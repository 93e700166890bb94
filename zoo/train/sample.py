"""A glimpse of what a model does: text that it writes or fills in, or an example of its task with its predictions."""

import numpy as np
import torch

from zoo.data.masked import MaskedText
from zoo.data.source import IGNORE, Source
from zoo.data.task_data import TaskData
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.generate import generate
from zoo.tokenizer import Tokenizer

PROMPT = "\n"


def sample(model: Backbone, source: Source, *, tokens: int, seed: int) -> str:
    """Text of so many tokens, or an example of a task with predictions, of a model in training mode."""
    if isinstance(source, TaskData):
        return answered_example(model, source)
    if isinstance(source, MaskedText):
        return filled_text(model, source, tokens=tokens)
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
def filled_text(model: Backbone, source: MaskedText, *, tokens: int) -> str:
    """About so many validation tokens, with the model's guess at each masked one: ``⟦e⟧``.

    Where the guess is wrong, the token that was there follows it: ``⟦a|e⟧``.
    """
    batch = next(source.validation_batches(context=model.context, batch=max(1, tokens // model.context), limit=tokens))
    device = next(model.parameters()).device
    guesses = model.eval()(batch.inputs.to(device), **batch.documents_for(device)).logits.argmax(-1).cpu()
    model.train()
    rows = (values[:, :tokens].tolist() for values in (batch.inputs, batch.targets, guesses))
    return "\n\n".join(_filled(source, *window) for window in zip(*rows, strict=True))


def _filled(source: MaskedText, inputs: list[int], targets: list[int], guesses: list[int]) -> str:
    def text(token: int) -> str:
        return "" if token == source.mask_token else source.tokenizer.decode([token])

    pieces, plain = [], list[int]()
    for token, target, guess in zip(inputs, targets, guesses, strict=True):
        if target == IGNORE:
            plain.append(token)  # decoded together: a character may take several tokens
            continue
        said, right = (repr(text(answer))[1:-1] for answer in (guess, target))
        pieces += [source.tokenizer.decode(plain), f"⟦{said}⟧" if guess == target else f"⟦{said}|{right}⟧"]
        plain = []
    return "".join([*pieces, source.tokenizer.decode(plain)])


@torch.no_grad()
def answered_example(model: Backbone, data: TaskData) -> str:
    """The first example of the test, with an arrow to the model's answer wherever one is scored: ``k3→v7``.

    Where a prediction is wrong, the target follows it in brackets: ``k3→v2(v7)``.
    """
    batch = next(data.validation_batches(context=data.task.length, batch=1))
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
