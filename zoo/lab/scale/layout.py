"""How a run may be laid out over GPUs, what each of them then holds, and whether it fits."""

from dataclasses import dataclass

from zoo.lab.scale.costs import Costs
from zoo.lab.scale.gpu import GPU

USABLE = 0.9
"""The part of a GPU's memory that tensors may take: the driver, the buffers of the network and gaps take the rest."""

NUMBER = 4
"""Bytes of a parameter or a gradient, in float32."""

ENGINES = ("ddp", "fsdp")
"""Of several processes; there is but one way to train in one."""


@dataclass(frozen=True)
class Layout:
    """One way to train a model on some GPUs, one process each.

    Attributes:
        engine: ``"single"``, ``"ddp"`` or ``"fsdp"``.
        checkpointing: whether layers are computed again in the backward pass.
        batch: sequences in a micro-batch.
        accumulate: micro-batches in a step, of all processes together.
        parameters, gradients, optimizer, activations: bytes in each process, when they are most.
        peak: bytes of a process at once.
        fits: whether that is within the GPU's memory.
        flops: floating-point operations per token, those that are made twice among them.
    """

    engine: str
    checkpointing: bool
    batch: int
    accumulate: int
    parameters: float
    gradients: float
    optimizer: float
    activations: float
    peak: float
    fits: bool
    flops: float


def possible_layouts(costs: Costs, gpu: GPU, gpus: int, *, context: int, step_tokens: float) -> list[Layout]:
    """Each engine with and without activation checkpointing, with the largest micro-batch that fits, or one sequence.

    Args:
        costs: of the model.
        gpu: of which kind they are.
        gpus: how many there are.
        context: tokens in a sequence.
        step_tokens: about so many are in a step; at least one sequence a GPU is.
    """
    sequences = max(1, round(step_tokens / context / gpus))
    batches = [2**power for power in range(sequences.bit_length())]
    layouts = []
    for engine in ENGINES if gpus > 1 else ("single",):
        for checkpointing in (False, True):
            tried = [
                make_layout(
                    costs,
                    gpu,
                    gpus,
                    engine=engine,
                    checkpointing=checkpointing,
                    batch=batch,
                    micro_batches=max(1, round(sequences / batch)),
                )
                for batch in batches
            ]
            layouts.append(next((layout for layout in reversed(tried) if layout.fits), tried[0]))
    return layouts


def make_layout(
    costs: Costs, gpu: GPU, gpus: int, *, engine: str, checkpointing: bool, batch: int, micro_batches: int
) -> Layout:
    """One layout.

    In the backward pass activations go as gradients come, so that of one micro-batch the larger of the two counts. Of
    several the gradients of the earlier ones are there all the time.

    Args:
        costs: of the model.
        gpu: of which kind they are.
        gpus: how many there are.
        engine: ``"single"``, ``"ddp"`` or ``"fsdp"``.
        checkpointing: whether layers are computed again.
        batch: sequences in a micro-batch.
        micro_batches: of each process in a step.
    """
    whole = NUMBER * costs.parameters
    share = gpus if engine == "fsdp" else 1
    gathered = costs.outside_parameters + 2 * costs.layer_parameters if engine == "fsdp" else 0.0
    reduced = costs.outside_parameters + costs.layer_parameters if engine == "fsdp" else 0.0
    parameters, gradients = whole / share + NUMBER * gathered, whole / share + NUMBER * reduced
    logits = batch * costs.logits
    if checkpointing:  # a layer is computed again when the gradients of the logits are gone
        layer = costs.layer + batch * costs.sequence_layer
        activations = costs.checkpointed + batch * costs.sequence_checkpointed + max(layer, logits)
    else:
        activations = costs.activations + batch * costs.sequence_activations + logits
    optimizer = costs.optimizer / share
    moving = max(activations, gradients) if micro_batches == 1 else activations + gradients
    peak = parameters + optimizer + moving
    return Layout(
        engine,
        checkpointing,
        batch,
        micro_batches * gpus,
        parameters,
        gradients,
        optimizer,
        activations,
        peak,
        peak <= USABLE * gpu.memory,
        costs.training_flops + (costs.forward_flops if checkpointing else 0),
    )
