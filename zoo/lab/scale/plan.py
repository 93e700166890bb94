"""The plan of a run on many GPUs."""

import math
from dataclasses import dataclass

from zoo.errors import UsageError
from zoo.lab.scale.costs import Costs, measure_costs
from zoo.lab.scale.gpu import GPU
from zoo.lab.scale.layout import Layout, possible_layouts
from zoo.train.settings import Settings

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class ScalePlan:
    """What a run would take.

    Attributes:
        settings: of its model.
        vocab_size: how many tokens there are.
        costs: of the model.
        gpu: of which kind they are.
        gpus: how many.
        tokens: that it is trained on.
        step_tokens: in a step, about.
        utilization: the part of the GPUs' speed that is reached.
        layouts: that are possible, whether they fit or not.
    """

    settings: Settings
    vocab_size: int
    costs: Costs
    gpu: GPU
    gpus: int
    tokens: float
    step_tokens: float
    utilization: float
    layouts: tuple[Layout, ...]

    @property
    def best(self) -> Layout | None:
        """The fastest of those that fit: layers are computed once where they can be, and DDP is used where it does."""
        return next((layout for layout in self.layouts_by_cost if layout.fits), None)

    @property
    def layouts_by_cost(self) -> list[Layout]:
        """The cheapest first: by the operations that are made, and then by what goes over the network."""
        return sorted(self.layouts, key=lambda layout: (layout.checkpointing, layout.engine == "fsdp"))

    def days(self, layout: Layout) -> float:
        """How long it takes."""
        return self.tokens * layout.flops / (self.gpus * self.gpu.flops * self.utilization * SECONDS_A_DAY)

    def steps(self, layout: Layout) -> int:
        """How many steps that is."""
        return math.ceil(self.tokens / (layout.batch * layout.accumulate * self.settings.context))


def make_scale_plan(
    settings: Settings,
    *,
    vocab_size: int,
    gpu: GPU,
    gpus: int,
    tokens: float,
    step_tokens: float,
    utilization: float,
) -> ScalePlan:
    """Plan a run, without any of the memory or time that it needs.

    Args:
        settings: of the model, with a number of layers.
        vocab_size: how many tokens there are.
        gpu: of which kind the GPUs are.
        gpus: how many.
        tokens: that it is to be trained on.
        step_tokens: in a step, about.
        utilization: the part of the GPUs' speed that is reached.

    Raises:
        UsageError: a number out of its range, or a model that cannot be built.
    """
    if gpus < 1:
        raise UsageError(f"`gpus`={gpus} should be 1 or more")
    if not 0 < utilization <= 1:
        raise UsageError(f"`utilization`={utilization:g} should be above 0 and at most 1")
    for name, value in {"tokens": tokens, "step_tokens": step_tokens}.items():
        if not 1 <= value < math.inf:
            raise UsageError(f"`{name}`={value:g} should be 1 or more")
    costs = measure_costs(settings, vocab_size)
    layouts = possible_layouts(costs, gpu, gpus, context=settings.context, step_tokens=step_tokens)
    return ScalePlan(settings, vocab_size, costs, gpu, gpus, tokens, step_tokens, utilization, tuple(layouts))
