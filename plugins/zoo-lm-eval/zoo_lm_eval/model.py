"""The model that the harness asks: it scores with the forward of a run's mixers, and generates with their state."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import simple_parse_args_string

import zoo
from zoo.data.documents import SEPARATOR
from zoo.errors import check_seed
from zoo.model.faults import explaining
from zoo.model.generate import sample_tokens
from zoo.run import Run
from zoo.train.machine import resolve_auto
from zoo.train.settings import validate
from zoo_lm_eval.generation import Generation, read_generation, until_stop
from zoo_lm_eval.scoring import Row, consecutive_rows, continuation_rows, measure

_PROMPT = "\n"
"""What stands before a text that has nothing before it."""

_ARGUMENTS = ("run", "device", "batch_size", "context", "seed")
"""Those that the harness's program takes."""

Progress = Callable[[str, int, int], None]
"""Is called with the kind of request, and with how many parts of all of them are done."""


class Zoo(LM):
    """A run as a model of the harness.

    Args:
        run: its folder, or what `zoo.load_run` gave.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; of a run that is loaded here.
        batch_size: sequences of the training length at a time; by default as many as in training.
        max_batch_size: is not used; the harness passes it.
        context: how many tokens the model reads at once. By default a text of its own is cut into windows of the
            training length, as for the run's own loss, and nothing else is cut unless the model has a longest length.
        seed: of what is sampled. Each request has a generator of its own.
        progress: see `Progress`.

    Raises:
        UsageError: no run there, a run that did not learn to continue a text, or a value out of range.
        PluginError: a plugin that the run used is missing or broken.
    """

    def __init__(
        self,
        run: str | Path | Run,
        *,
        device: str = "auto",
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,  # noqa: ARG002 - see above
        context: int | None = None,
        seed: int = 0,
        progress: Progress = lambda _kind, _done, _all: None,
    ) -> None:
        super().__init__()
        check_seed(seed)
        self.run = run if isinstance(run, Run) else _load(run, device)
        self.settings = self.run.settings
        if self.run.tokenizer is None:
            raise zoo.UsageError(
                f"{self.run.path} learned the task {self.settings.data} and not a text: only runs that learned to "
                "continue a text can be evaluated"
            )
        if not self.settings.text_objective.causal:
            raise zoo.UsageError(
                f"{self.run.path} learned to fill in masked tokens: only runs that learned to continue a text can be "
                "evaluated"
            )
        self.tokenizer = self.run.tokenizer
        self.seed, self._progress = seed, progress
        longest = self.run.model.max_length
        if context is not None and not 1 <= context <= (longest or context):
            limit = f"from 1 to {longest}, the most that the model can read" if longest else "1 or more"
            raise zoo.UsageError(f"`context`={context} should be {limit}")
        self.max_length: int | None = context or longest
        """The most tokens that are read at once; None for any number."""
        self.window = context or self.settings.context
        """The tokens of a window of a text of its own."""
        self._tokens_at_once = _rows(batch_size, self.settings.batch) * (self.window + 1)
        on_device = self.settings.model_copy(update={"device": str(self.device)})
        self._precision = resolve_auto(on_device).precision
        self._separator = int(self.tokenizer.encode(SEPARATOR)[0]) if self.settings.documents == "separate" else None
        self._start = self._prompt()

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> Self:
        """Make it as the harness's program does, from ``run=runs/mine,seed=1``."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None) -> Self:
        """Make it as the harness's program does, from ``{"run": "runs/mine", "seed": 1}``.

        Args:
            arg_dict: of the model.
            additional_config: of the program, e.g. its ``--batch_size``; `arg_dict` comes first.

        Raises:
            UsageError: what the class raises, no run, or an argument that it does not know.
        """
        given = {
            name: value for name, value in (_with_device(additional_config) | arg_dict).items() if value is not None
        }
        if unknown := sorted(set(given) - {*_ARGUMENTS, "max_batch_size"}):
            raise zoo.UsageError(f"the model zoo has no argument {unknown[0]!r}: there are {', '.join(_ARGUMENTS)}")
        if "run" not in given:
            raise zoo.UsageError("the model zoo needs a run: run=runs/mine")
        for name in {"context", "seed"} & set(given):
            if not isinstance(given[name], int):
                raise zoo.UsageError(f"`{name}`={given[name]} should be a whole number")
        return cls(**given)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.run.model.parameters()).device

    @property
    def tokenizer_name(self) -> str:
        """That of the run, without its options."""
        return self.tokenizer.name

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes down of the model."""
        settings, parameters = self.settings, sum(p.numel() for p in self.run.model.parameters())
        of_run = {"run": str(self.run.path), "step": self.run.step, "mixer": settings.mixer, "data": settings.data}
        return of_run | {"tokenizer": settings.tokenizer, "parameters": parameters}

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """The log-likelihood of each continuation of a context, in nats, and whether it is the greedy one.

        Raises:
            UsageError: characters that the tokenizer does not know.
        """
        rows = [row for index, request in enumerate(requests) for row in self._continuation(index, request)]
        found = self._measure("loglikelihood", rows, len(requests))
        results = [(-float(nats), bool(greedy)) for nats, greedy in zip(found.nats, found.greedy, strict=True)]
        return self._remembered("loglikelihood", requests, results)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """The log-likelihood of each text, in nats.

        Nothing comes before the first token of a text, and no vocabulary has a token that means so. The first one is
        given the mean of the others, which is how the zoo computes its bits per byte; the only token of a text is
        given one in as many as there are tokens.

        Raises:
            UsageError: characters that the tokenizer does not know.
        """
        texts = [self._encode(request.args[0], request) for request in requests]
        rows = [row for index, text in enumerate(texts) for row in consecutive_rows(index, text, self.window)]
        found = self._measure("loglikelihood_rolling", rows, len(requests), separator=self._separator)
        guess = math.log(self.tokenizer.vocab_size)
        means = [nats / count if count else guess for nats, count in zip(found.nats, found.targets, strict=True)]
        results = [-float(mean) * len(text) for mean, text in zip(means, texts, strict=True)]
        return self._remembered("loglikelihood_rolling", requests, results)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The continuation of each context, up to the first stop string; one at a time, token by token.

        Raises:
            UsageError: characters that the tokenizer does not know, or a way to generate that the zoo does not have.
        """
        # all of them are read before the first is generated: what is wrong is seen at once
        contexts = [self._encode(request.args[0], request) for request in requests]
        wanted = [read_generation(request.args[1], str(request.task_name)) for request in requests]
        results = []
        for index, (context, generation) in enumerate(zip(contexts, wanted, strict=True)):
            results.append(self._generate(context, generation, seed=(self.seed + index) % 2**63))
            self._progress("generate_until", index + 1, len(requests))
        return self._remembered("generate_until", requests, results)

    def _continuation(self, index: int, request: Instance) -> Iterator[Row]:
        context, continuation = request.args[:2]
        if not continuation:
            return iter(())
        before, whole = self._encode(context, request), self._encode(context + continuation, request)
        # A tokenizer of merges may join the end of the context with what follows. All that differs is predicted.
        both = min(len(before), len(whole))
        differ = np.flatnonzero(before[:both] != whole[:both])
        first = int(differ[0]) if len(differ) else both
        if first == 0:
            whole, first = np.concatenate([self._start, whole]), len(self._start)
        return continuation_rows(index, whole, first, self.max_length)

    def _measure(self, kind: str, rows: list[Row], requests: int, *, separator: int | None = None) -> Any:
        with explaining():
            return measure(
                self.run.model,
                rows,
                requests,
                precision=self._precision,
                tokens_at_once=self._tokens_at_once,
                separator=separator,
                progress=lambda done, total: self._progress(kind, done, total),
            )

    def _generate(self, context: np.ndarray, generation: Generation, *, seed: int) -> str:
        prompt = context if len(context) else self._start
        if self.max_length is not None:
            # Room for what is generated, but no less than the half from which the zoo goes on when it runs out.
            prompt = prompt[-max(self.max_length - generation.tokens, (self.max_length + 1) // 2) :]
        sampled = sample_tokens(
            self.run.model,
            torch.from_numpy(prompt)[None].to(self.device),
            tokens=generation.tokens,
            temperature=generation.temperature,
            top_k=generation.top_k,
            top_p=generation.top_p,
            seed=seed,
        )
        decoder = self.tokenizer.decoder()
        stops = generation.stops if self._separator is None else (*generation.stops, SEPARATOR)
        with explaining():
            return until_stop((int(token) for token in sampled), decoder, stops)

    def _encode(self, text: str, request: Instance) -> np.ndarray:
        try:
            return self.tokenizer.encode(text).astype(np.int64)
        except zoo.UsageError as error:
            raise zoo.UsageError(f"the task {request.task_name}: {error}") from None

    def _prompt(self) -> np.ndarray:
        try:
            return self.tokenizer.encode(_PROMPT).astype(np.int64)
        except zoo.UsageError:  # the vocabulary of a small text may lack it
            return np.zeros(1, dtype=np.int64)

    def _remembered(self, kind: str, requests: Sequence[Instance], results: list[Any]) -> list[Any]:
        """The results, once the harness's cache has them, if it has one."""
        for request, result in zip(requests, results, strict=True):
            self.cache_hook.add_partial(kind, request.args, result)
        return results


def _with_device(given: dict[str, Any] | None) -> dict[str, Any]:
    """The harness's program asks for CUDA where the user said nothing, also on machines that have none."""
    given = dict(given or {})
    if str(given.get("device")).startswith("cuda") and not torch.cuda.is_available():
        del given["device"]
    return given


def _rows(batch_size: int | str | None, of_training: int) -> int:
    """The harness's program also says ``auto`` and ``auto:4``."""
    said = str(of_training if batch_size is None else batch_size)
    rows = of_training if said.partition(":")[0] == "auto" else int(said) if said.isdecimal() else 0
    if rows < 1:
        raise zoo.UsageError(f"`batch_size`={said} should be 1 or more, or auto")
    return rows


def _load(path: str | Path, device: str) -> Run:
    return zoo.load_run(path, device=resolve_auto(validate({"device": device})).device)
