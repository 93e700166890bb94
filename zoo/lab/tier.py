"""Tiers: how large a comparison is, from minutes to days."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from zoo.data.load import task_call
from zoo.errors import UsageError
from zoo.plugin.options import did_you_mean
from zoo.train.resolve import resolve
from zoo.train.settings import Settings, validate

DEFAULT_TIER = "smoke"


@dataclass(frozen=True)
class Tier:
    """What a comparison is made of where nothing else was asked for.

    Attributes:
        name: of the tier.
        summary: in a sentence.
        seeds: how many.
        lrs: the learning rates to try; none for that of the settings.
        text: settings for texts, ``preset`` among them.
        task: settings for tasks, over those that their definition asks for.
        at_most: what the settings of a task's definition are cut down to.
    """

    name: str
    summary: str
    seeds: int
    lrs: tuple[float, ...]
    text: Mapping[str, Any]
    task: Mapping[str, Any]
    at_most: Mapping[str, int]

    def settings(self, pattern: str, data: str, given: Mapping[str, Any]) -> Settings:
        """The settings of one pattern on one text or task.

        Args:
            pattern: of token mixers.
            data: a text or a task.
            given: what the user asked for, over all else.

        Raises:
            UsageError: data, a pattern or a value that cannot be.
        """
        settings = self._without_nothing(pattern, data, {name: v for name, v in given.items() if v is not None})
        nothing = {name: None for name, value in given.items() if value is None}
        return validate(settings.model_dump() | nothing) if nothing else settings

    def _without_nothing(self, pattern: str, data: str, given: Mapping[str, Any]) -> Settings:
        flags = {**given, "mixer": pattern, "data": data}
        if task_call(data) is None:
            values = {name: value for name, value in self.text.items() if name != "preset"}
            return resolve(preset=self.text["preset"], flags={**values, **flags})
        defined = resolve(flags={"mixer": pattern, "data": data})
        cut = {name: min(getattr(defined, name), most) for name, most in self.at_most.items()}
        return resolve(flags={**self.task, **cut, **flags})


def list_tiers() -> dict[str, Tier]:
    """The tiers by name, the smallest first."""
    return {name: _read(name) for name in ("smoke", "laptop", "paper")}


def find_tier(name: str) -> Tier:
    """The tier of that name.

    Raises:
        UsageError: there is none.
    """
    tiers = list_tiers()
    if name not in tiers:
        raise UsageError(f"no tier is named {name!r}{did_you_mean(name, tiers)}; there are: {', '.join(tiers)}")
    return tiers[name]


def _read(name: str) -> Tier:
    text = (resources.files("zoo.lab") / "tiers" / f"{name}.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    summary = text.splitlines()[0].lstrip("# ")
    return Tier(name, summary, values["seeds"], tuple(values["lrs"]), values["text"], values["task"], values["at_most"])
