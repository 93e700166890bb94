"""What is run in a cell of a bench of whole models, and how much it computes and moves at least."""

from itertools import count
from typing import Any

import torch
from torch import Tensor

from zoo.lab.bench.models.candidates import Candidate, RandomTokens
from zoo.lab.bench.models.request import STRETCH, ModelRequest
from zoo.lab.bench.work import Work, state_bytes
from zoo.model.parameters import count_active_parameters
from zoo.train.evaluate import autocast, evaluate


def prepare_work(kind: str, candidate: Candidate, request: ModelRequest, device: torch.device) -> Work:
    """What a cell of that kind is to run, of a new model.

    Raises:
        UsageError: the model cannot do it, e.g. continue a text with a mixer that is not causal.
    """
    model = candidate.build().to(device)
    ways = {"train": _train, "evaluation": _evaluation, "prefill": _prefill, "decode": _decode}
    return ways[kind](model.train(kind == "train"), candidate, request, device)


def _train(model: Any, candidate: Candidate, request: ModelRequest, device: torch.device) -> Work:
    source = RandomTokens(request.vocab_size)
    step, numbers = candidate.training_step(model, source), count()
    batch = source.draw(context=request.context, batch=request.batch, seed=request.seed, step=0)
    inputs, targets = batch.inputs.to(device), batch.targets.to(device)

    def compute_gradient() -> None:
        with autocast(device, request.precision):
            loss = model(inputs, targets).loss
        loss.backward()
        model.zero_grad(set_to_none=True)

    # Clipping needs all of the gradient before any parameter changes, so that it is written and read again. Parameters
    # are read and written once, and so is what the optimizer keeps.
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    moved = 2 * (2 * parameters + candidate.optimizer_bytes(model))
    return Work(lambda: step(next(numbers)), request.batch * request.context, moved, counted=compute_gradient)


def _evaluation(model: Any, _candidate: Candidate, request: ModelRequest, _device: torch.device) -> Work:
    source = RandomTokens(request.vocab_size)
    batches = list(source.validation_batches(context=request.context, batch=request.batch))
    return Work(
        lambda: evaluate(model, batches, precision=request.precision),
        request.batch * request.context,
        _parameter_bytes(model),
    )


def _prefill(model: Any, _candidate: Candidate, request: ModelRequest, device: torch.device) -> Work:
    prompt = _tokens(request.context, request, device)

    def read() -> Any:
        with autocast(device, request.precision):
            return model.step(prompt)[1]

    call, counted = torch.inference_mode()(read), torch.no_grad()(read)
    size = state_bytes(call())
    return Work(call, request.batch * request.context, _parameter_bytes(model) + size, size, counted)


def _decode(model: Any, _candidate: Candidate, request: ModelRequest, device: torch.device) -> Work:
    decoding = _Decoding(model, request, device)
    size = state_bytes(decoding.state)
    return Work(decoding.next, request.batch, _parameter_bytes(model) + size, size, decoding.first)


class _Decoding:
    """A text that grows, token by token, and starts again at the prompt now and then.

    A model may keep room for tokens to come in its state, which only the first to continue from it can use: so each
    token continues the one before, as in ``zoo generate``.
    """

    def __init__(self, model: Any, request: ModelRequest, device: torch.device) -> None:
        self.model, self.request, self.device = model, request, device
        self.stretch = min(STRETCH, request.context - request.prompt)
        self.made = 0
        with torch.no_grad():
            self.start = self._step(_tokens(request.prompt, request, device), None)
        self.token, self.state = self.start

    def next(self) -> None:
        """Decode a token."""
        with torch.inference_mode():
            if self.made == self.stretch:
                self.made, (self.token, self.state) = 0, self.start
            self.token, self.state = self._step(self.token, self.state)
        self.made += 1

    def first(self) -> None:
        """The token after the prompt, outside of inference mode, in which operations cannot be counted."""
        with torch.no_grad():
            self._step(*self.start)

    def _step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        with autocast(self.device, self.request.precision):
            logits, state = self.model.step(tokens, state)
        return logits[:, -1].argmax(-1, keepdim=True), state


def _tokens(length: int, request: ModelRequest, device: torch.device) -> Tensor:
    source = RandomTokens(request.vocab_size)
    return source.draw(context=length, batch=request.batch, seed=request.seed, step=0).inputs.to(device)


def _parameter_bytes(model: Any) -> int:
    """Bytes of the parameters that one token uses."""
    size = next((parameter.element_size() for parameter in model.parameters()), 0)
    return count_active_parameters(model) * size
