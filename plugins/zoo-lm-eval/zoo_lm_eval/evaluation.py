"""A run on tasks of the harness: what it scores, and with what it was measured."""

import contextlib
import functools
import json
import logging
import os
import random
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zoo
from zoo.plugin.stdout import stdout_to_stderr
from zoo.run import Run
from zoo_lm_eval.tasks import first_line, load_tasks, split_tasks, work_offline

_RESAMPLINGS = 1000
"""From which the harness estimates an error where it has no formula; its own default takes minutes."""

_LOUD = ("lm_eval", "datasets", "evaluate", "huggingface_hub", "httpx", "fsspec", "filelock", "absl")
_KEPT = ("results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples")


def evaluate_run(
    run: str | Path | Run,
    tasks: str | Sequence[str],
    *,
    limit: int | None = None,
    shots: int | None = None,
    seed: int = 0,
    device: str = "auto",
    context: int | None = None,
    progress: Any = lambda _kind, _done, _all: None,
) -> dict[str, Any]:
    """Evaluate a run on tasks.

    Args:
        run: its folder, or what `zoo.load_run` gave.
        tasks: names of tasks, groups or tags of the harness, YAML files, and folders of them; a list, or separated by
            commas. Where all are local, nothing is asked of the network, from then on in this process.
        limit: take so many of the first examples of each task; None for all.
        shots: examples with their answers that stand before each question; None for as many as the task says.
        seed, device, context, progress: see `zoo_lm_eval.Zoo`.

    Returns:
        What the harness found, as JSON values: ``results``, ``groups``, ``configs``, ``versions``, ``n-shot``,
        ``n-samples``, ``higher_is_better``; and ``model``, ``lm_eval_version``, ``limit``, ``seed``.

    Raises:
        UsageError: what `Zoo` and `load_tasks` raise, a limit or shots out of range, or a task that fails, runs code
            which a model wrote, or asks for more than text.
        PluginError: a plugin that the run used is missing or broken.
    """
    if limit is not None and limit < 1:
        raise zoo.UsageError(f"`limit`={limit} should be 1 or more")
    if shots is not None and shots < 0:
        raise zoo.UsageError(f"`shots`={shots} should be 0 or more")
    parts = split_tasks(tasks if isinstance(tasks, str) else ",".join(tasks))
    work_offline(parts)
    with _quiet():
        import lm_eval
        from lm_eval.utils import handle_non_serializable

        from zoo_lm_eval.model import Zoo

        model = Zoo(run, seed=seed, device=device, context=context, progress=progress)
        loaded = load_tasks(parts)
        _prepare(loaded["tasks"].values(), shots)
        found = _evaluate(model, loaded, limit)
        kept = {name: found[name] for name in _KEPT if name in found}
        measured = {"model": model.get_model_info(), "lm_eval_version": lm_eval.__version__}
        text = json.dumps(measured | kept | {"limit": limit, "seed": seed}, default=handle_non_serializable)
    return dict(json.loads(text))


def _evaluate(model: Any, loaded: dict[str, Any], limit: int | None) -> dict[str, Any]:
    import lm_eval

    for task in loaded["tasks"].values():
        if getattr(task, "UNSAFE_CODE", False):
            raise zoo.UsageError(f"the task {task.task_name} runs code that the model writes: the zoo runs none")
        if getattr(task, "MULTIMODAL", False):
            raise zoo.UsageError(f"the task {task.task_name} asks about pictures or sounds, and the run reads text")
        if not len(task.eval_docs):
            raise zoo.UsageError(f"the task {task.task_name} has no examples")
    try:
        return dict(lm_eval.evaluate(model, loaded, limit=limit, bootstrap_iters=_RESAMPLINGS, log_samples=False))
    except Exception as error:
        if isinstance(error, zoo.ZooError) or any(name == "zoo_lm_eval.model" for name in _modules(error)):
            raise
        # what is left are templates, functions and metrics of the tasks
        raise zoo.UsageError(f"a task cannot be evaluated: {type(error).__name__}: {first_line(error)}") from error


def _modules(error: Exception) -> Iterator[str]:
    """Those whose code was running."""
    return (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))


def _prepare(tasks: Any, shots: int | None) -> None:
    """Set what the harness's own program sets: the examples before a question, and the seeds with which it draws."""
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    for task in tasks:
        said = task.get_config("num_fewshot")
        if said is None or (shots is not None and said != 0):  # a task that says 0 has questions that stand alone
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries say of themselves from stdout, and their progress bars and advice from stderr."""
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # otherwise errors are estimated by a process for each core
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), stdout_to_stderr():
        warnings.simplefilter("ignore")
        import datasets  # noqa: F401 - it and what it imports set the levels of their loggers
        import tqdm

        bar = tqdm.tqdm.__init__  # its environment variable is read with torch, which is imported long since
        tqdm.tqdm.__init__ = functools.partialmethod(bar, disable=True)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            tqdm.tqdm.__init__ = bar
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
