"""Measuring models of many widths against one target."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from zoo.errors import PluginError, UsageError
from zoo.lab.size import measure_state, measure_training_flops
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_parameters
from zoo.train.settings import Settings

Quantity: TypeAlias = Literal["params", "flops", "state"]

MAX_WIDTH = 8192
"""No width beyond is tried."""

MAX_PARAMETERS = 2**28
"""Nor, where models have to be run, one whose model may have more parameters, unless the settings' own nearly does."""

TIME_LIMIT = 60.0
"""Seconds after which no further model is measured."""


@dataclass(frozen=True)
class Candidate:
    """Settings, and the quantity of their model over the target."""

    settings: Settings
    ratio: float

    @property
    def miss(self) -> float:
        """By how much of the target it misses it."""
        return abs(self.ratio - 1)


class Sizing:
    """Measures models against the target, each once."""

    def __init__(
        self,
        build: Callable[[Settings], Backbone],
        settings: Settings,
        quantity: Quantity,
        target: float,
        length: int,
        *,
        targets: int | None,
    ) -> None:
        self.build, self.settings, self.quantity, self.target, self.length = build, settings, quantity, target, length
        self.targets = targets
        self._deadline = time.monotonic() + TIME_LIMIT
        self.max_width = MAX_WIDTH
        if quantity != "params":
            layers = settings.layers or len(settings.pattern.layers())
            # a layer of attention or involution has about 12 d**2 parameters, a mixture of experts some more
            self.max_width = min(MAX_WIDTH, max(2 * settings.dim, math.isqrt(MAX_PARAMETERS // (16 * layers))))
        self._measured: dict[Settings, Candidate | None] = {}

    @property
    def is_out_of_time(self) -> bool:
        """Whether the time for measuring is up."""
        return time.monotonic() > self._deadline

    def model(self, settings: Settings) -> Backbone:
        """The model of some settings."""
        with torch.random.fork_rng(devices=[]):
            return self.build(settings)

    def measure(self, **changes: int | str) -> Candidate | None:
        """The model of the settings with these changes; None where it cannot be built, or time is up."""
        settings = self.settings.model_copy(update=changes)
        if settings.dim > self.max_width or (self._measured and self.is_out_of_time):
            return None
        if settings not in self._measured:
            self._measured[settings] = self._measure(settings)
        return self._measured[settings]

    def _measure(self, settings: Settings) -> Candidate | None:
        try:
            outline = self._outline(settings)
        except UsageError:
            return None
        if self.quantity == "params":
            return Candidate(settings, count_parameters(outline) / self.target)
        return Candidate(settings, self._run(self.model(settings)) / self.target)

    def _outline(self, settings: Settings) -> Backbone:
        """The model without memory for its parameters, if all its mixers can be built so."""
        try:
            with torch.device("meta"):
                return self.model(settings)
        except (PluginError, RuntimeError):
            return self.model(settings)

    def _run(self, model: Backbone) -> float:
        if self.quantity == "flops":
            return measure_training_flops(model, length=self.length, targets=self.targets)
        state = measure_state(model, length=self.length)
        if state is None:
            raise UsageError(f"{self.settings.mixer} cannot stream, and has no state to match: choose another `match`")
        return state
