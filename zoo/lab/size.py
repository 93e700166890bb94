"""How big a model is: what it keeps, what it computes, and what it remembers."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.data.source import Source
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.model.parts import parts_of
from zoo.train.flops import count_flops


@dataclass(frozen=True)
class Size:
    """The size of a model, for sequences of one length.

    Attributes:
        parameters: all that are trained, the embedding and every expert among them.
        active_parameters: those that take part in the computation of one token; less in a mixture of experts.
        embedding_parameters: of the tokens, of learned positions, and of the unembedding where it is not the embedding.
        forward_flops: floating-point operations of the forward pass per token, as `count_flops` counts them.
        training_flops: likewise of a training step, forward and backward without the optimizer.
        state: how many numbers the mixers remember of one sequence; None if the model cannot stream.
    """

    parameters: int
    active_parameters: int
    embedding_parameters: int
    forward_flops: float
    training_flops: float
    state: int | None


def measure_size(model: Backbone, *, length: int, targets: int | None = None) -> Size:
    """Measure a model by running a copy of it on one sequence, in float32 on the CPU.

    The model itself is neither run nor changed, and neither is the global random state.

    Args:
        model: on any device, in any mode and dtype.
        length: tokens of the sequence.
        targets: at how many of its positions the model predicts; None for all. What it does not predict is not
            computed either, see `Backbone.forward`.

    Raises:
        UsageError: the model does not take so many tokens.
    """
    embeddings = [table for table in (model.embedding, model.positions, model.unembedding) if table is not None]
    return Size(
        parameters=count_parameters(model),
        active_parameters=count_active_parameters(model),
        embedding_parameters=sum(map(count_parameters, embeddings)),
        forward_flops=measure_forward_flops(model, length=length, targets=targets),
        training_flops=measure_training_flops(model, length=length, targets=targets),
        state=measure_state(model, length=length),
    )


def measure_forward_flops(model: Backbone, *, length: int, targets: int | None = None) -> float:
    """The floating-point operations of a forward pass per token, `Size.forward_flops`."""
    probe, tokens = _probe(model).eval(), _draw_tokens(model, length)

    def run() -> None:
        with torch.no_grad():
            probe(tokens, where=_where(targets))

    return count_flops(run) / length


def measure_training_flops(model: Backbone, *, length: int, targets: int | None = None) -> float:
    """The floating-point operations of a forward and a backward pass per token, `Size.training_flops`.

    No layer is computed again in the backward pass, whether or not the model does so to save memory.
    """
    probe, tokens = _probe(model).train(), _draw_tokens(model, length)
    probe.activation_checkpointing = False

    def run() -> None:
        probe(tokens, tokens, _where(targets)).loss.backward()

    with torch.random.fork_rng(devices=[]):  # for dropout
        return count_flops(run) / length


def measure_state(model: Backbone, *, length: int) -> int | None:
    """How many numbers the mixers remember of one sequence after so many tokens, `Size.state`."""
    if not all(getattr(part.module, "causal", True) for part in parts_of(model)):
        return None
    probe = _probe(model).eval()
    probe.readout = None  # it looks at whole sequences, and remembers nothing
    try:
        with torch.no_grad():
            _, state = probe.step(_draw_tokens(model, length))
    except NotImplementedError:
        return None
    return sum(leaf.numel() for leaf in tree_leaves(state["layers"]) if isinstance(leaf, Tensor))


def predicted_positions(source: Source, context: int) -> int | None:
    """At how many positions of a sequence there is something to predict, on average; None for nearly all."""
    batch = source.draw(context=context, batch=64, seed=0, step=0)
    return None if batch.where is None else round(len(batch.where) / 64)


def _probe(model: Backbone) -> Backbone:
    """A copy to be run, so that nothing that a run leaves behind is left in the model."""
    return copy.deepcopy(model).to("cpu", torch.float32)


def _where(targets: int | None) -> Tensor | None:
    return None if targets is None else torch.arange(targets)


def _draw_tokens(model: Backbone, length: int) -> Tensor:
    return torch.randint(model.vocabulary, (1, length), generator=torch.Generator().manual_seed(0))
