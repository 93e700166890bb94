"""Optimizers that judge the laws: sound ones, and ones that break a law."""

import time

import torch
from torch.optim import Optimizer

from zoo.optimizers.lion import Lion
from zoo.optimizers.plugin import zoo_optimizers

from .any_kind import option_controls


class Control(Optimizer):
    """Gradient descent with momentum and decoupled weight decay, which each control bends in one place.

    Options:
        momentum: how much of the sum of gradients is kept.
    """

    paper = "control"

    def __init__(self, params, lr=1e-2, weight_decay=0.0, momentum=0.9):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} should be at least 0 and less than 1")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, group)

    def update(self, parameter, gradient, group):
        self.decay(parameter, group)
        parameter.add_(self.average(parameter, gradient, group), alpha=-self.rate(group))

    def decay(self, parameter, group):
        parameter.mul_(1 - group["lr"] * group["weight_decay"])

    def average(self, parameter, gradient, group):
        state = self.state[parameter]
        state.setdefault("average", torch.zeros_like(gradient))
        return state["average"].mul_(group["momentum"]).add_(gradient).clone()

    def rate(self, group):
        return group["lr"]


# quadratic


class Ascends(Control):
    def rate(self, group):
        return -group["lr"]


class ForgetsVectors(Control):
    def update(self, parameter, gradient, group):
        if group["role"] != "vector":
            super().update(parameter, gradient, group)


class ForgetsAllButTheFirstOfAGroup(Control):
    def step(self, closure=None):
        for group in self.param_groups:
            self.update(group["params"][0].detach(), group["params"][0].grad, group)


class KeepsTheFirstGradient(Control):
    def average(self, parameter, gradient, group):
        return self.state[parameter].setdefault("first", gradient.clone())


class MomentumNeverFades(Control):
    def average(self, parameter, gradient, group):
        return super().average(parameter, gradient, group | {"momentum": 1.0})


class MeanOverRows(Control):
    """One number a column, as if a matrix were a vector."""

    def average(self, parameter, gradient, group):
        average = super().average(parameter, gradient, group)
        return average.mean(0, keepdim=True).expand_as(average) if average.ndim > 1 else average


# checkpoint


class CountsInAttribute(Control):
    count = 0

    def step(self, closure=None):
        self.count += 1
        super().step()

    def rate(self, group):
        return group["lr"] * min(1, self.count / 5)


class MomentumInDictOfItsOwn(Control):
    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.averages = {}

    def average(self, parameter, gradient, group):
        average = self.averages.setdefault(parameter, torch.zeros_like(gradient))
        return average.mul_(0.9).add_(gradient).clone()


class CountsInNumber(Control):
    def average(self, parameter, gradient, group):
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        return super().average(parameter, gradient, group) / state["step"]


class CountsInGroup(Control):
    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
        super().step()

    def rate(self, group):
        return group["lr"] / group["k"]


class KeepsStateInHalf(Control):
    """A second average, which the optimizer holds only as rounded."""

    def average(self, parameter, gradient, group):
        state = self.state[parameter]
        if "exact" not in self.__dict__.setdefault("cache", {}).setdefault(parameter, {}):
            self.cache[parameter]["exact"] = state.get("rounded", torch.zeros_like(gradient)).to(gradient.dtype)
        exact = self.cache[parameter]["exact"].mul_(0.9).add_(gradient)
        state["rounded"] = exact.to(torch.float32)
        return exact.clone()


# no-decay


class DecaysEverything(Control):
    def decay(self, parameter, group):
        super().decay(parameter, group | {"weight_decay": self.defaults["weight_decay"]})


class DecaysNothing(Control):
    def decay(self, parameter, group):
        pass


class DecayGrows(Control):
    def decay(self, parameter, group):
        parameter.mul_(1 + group["lr"] * group["weight_decay"])


class DecaysWhereGradientsAre(Control):
    def decay(self, parameter, group):
        parameter.sub_(group["lr"] * group["weight_decay"] * parameter * (parameter.grad != 0))


class DecaysVectorsByShape(Control):
    """It looks at axes and not at the group."""

    def decay(self, parameter, group):
        super().decay(parameter, group | {"weight_decay": 0.1 if parameter.ndim >= 2 else 0.0})


class DividesByNorm(Control):
    """Without a gradient that is nought by nought."""

    def average(self, parameter, gradient, group):
        return super().average(parameter, gradient / gradient.norm(), group)


# determinism


class NoiseFromTheClock(Control):
    def average(self, parameter, gradient, group):
        generator = torch.Generator().manual_seed(time.perf_counter_ns())
        noise = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        return super().average(parameter, gradient + 1e-3 * noise, group)


class RateByNumberOfOptimizers(Control):
    """It remembers in its class."""

    made = 0

    def __init__(self, params, **options):
        super().__init__(params, **options)
        RateByNumberOfOptimizers.made += 1
        self.factor = 1 / self.made

    def rate(self, group):
        return group["lr"] * self.factor


class NoiseFromOneGenerator(Control):
    generator = torch.Generator().manual_seed(0)

    def average(self, parameter, gradient, group):
        noise = torch.randn(gradient.shape, generator=self.generator, dtype=gradient.dtype)
        return super().average(parameter, gradient + 1e-3 * noise, group)


# idle-parameters


class DecaysIdle(Control):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                super().decay(parameter.detach(), group)
        super().step()

    def decay(self, parameter, group):
        pass


class TakesNoneForZero(Control):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self.update(parameter.detach(), gradient, group)


class NeedsEveryGradient(Control):
    def step(self, closure=None):
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.update(parameter, parameter.grad, group)


class StopsAtTheFirstIdle(Control):
    def step(self, closure=None):
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        return
                    self.update(parameter, parameter.grad, group)


# learning-rate


class RateOfConstruction(Control):
    def rate(self, group):
        return self.defaults["lr"]


class RateOfTheFirstGroup(Control):
    def rate(self, group):
        return self.param_groups[0]["lr"]


class LeastRate(Control):
    def rate(self, group):
        return max(group["lr"], 1e-6)


class DecayWithoutRate(Control):
    def decay(self, parameter, group):
        parameter.mul_(1 - 0.01 * group["weight_decay"])


class RateInMomentum(Lion):
    """The rate is taken into the average, which goes on moving what is held."""

    def _update(self, parameter, gradient, group):
        state = self.state[parameter]
        state.setdefault("average", torch.zeros_like(gradient)).mul_(0.9).add_(gradient, alpha=group["lr"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(state["average"])


BROKEN: list[tuple[str, type[Optimizer]]] = [
    ("quadratic", Ascends),
    ("quadratic", ForgetsVectors),
    ("quadratic", ForgetsAllButTheFirstOfAGroup),
    ("quadratic", KeepsTheFirstGradient),
    ("quadratic", MomentumNeverFades),
    ("quadratic", MeanOverRows),
    ("checkpoint", CountsInAttribute),
    ("checkpoint", MomentumInDictOfItsOwn),
    ("checkpoint", CountsInNumber),
    ("checkpoint", CountsInGroup),
    ("checkpoint", KeepsStateInHalf),
    ("no-decay", DecaysEverything),
    ("no-decay", DecaysNothing),
    ("no-decay", DecayGrows),
    ("no-decay", DecaysWhereGradientsAre),
    ("no-decay", DecaysVectorsByShape),
    ("no-decay", DividesByNorm),
    ("determinism", NoiseFromTheClock),
    ("determinism", NoiseFromOneGenerator),
    ("determinism", RateByNumberOfOptimizers),
    ("idle-parameters", DecaysIdle),
    ("idle-parameters", TakesNoneForZero),
    ("idle-parameters", NeedsEveryGradient),
    ("idle-parameters", StopsAtTheFirstIdle),
    ("learning-rate", RateOfConstruction),
    ("learning-rate", RateOfTheFirstGroup),
    ("learning-rate", LeastRate),
    ("learning-rate", DecayWithoutRate),
    ("learning-rate", RateInMomentum),
]
BROKEN += option_controls(Control, "step")

SOUND = [*zoo_optimizers().values(), Control]
