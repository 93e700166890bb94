"""Runs of the mixer zoo as models of the LM Evaluation Harness.

Importing this registers the model ``zoo`` there: ``lm_eval.simple_evaluate(model="zoo", model_args="run=runs/mine")``.
"""

from typing import TYPE_CHECKING, Any

import lm_eval.models  # noqa: F401 - the harness adds its own models only to a registry that has none
from lm_eval.api.registry import model_registry

if TYPE_CHECKING:
    from zoo_lm_eval.evaluation import evaluate_run as evaluate_run
    from zoo_lm_eval.model import Zoo as Zoo

__all__ = ["Zoo", "evaluate_run"]

model_registry.register("zoo", target="zoo_lm_eval.model:Zoo")


def __getattr__(name: str) -> Any:
    if name == "Zoo":
        from zoo_lm_eval.model import Zoo

        return Zoo
    if name == "evaluate_run":
        from zoo_lm_eval.evaluation import evaluate_run

        return evaluate_run
    raise AttributeError(f"module 'zoo_lm_eval' has no attribute {name!r}")
