"""The laws that every optimizer keeps, and what they are asked of."""

from zoo.testing.optimizers.case import OptimizerCase
from zoo.testing.optimizers.laws import LAWS, OptimizerLaw, Verdict, judge

__all__ = ["LAWS", "OptimizerCase", "OptimizerLaw", "Verdict", "judge"]
