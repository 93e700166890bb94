"""Several texts in given proportions: ``mix(a.jsonl=0.7, b.txt=0.3)``."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.dataset import Dataset
from zoo.data.source import Batch, Source
from zoo.errors import UsageError, check_seed
from zoo.tokenizer import Tokenizer

if TYPE_CHECKING:
    from zoo.model.backbone import Backbone

_ITEM = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([^,'"()=][^,'"()]*?))\s*=\s*([-+.\w]+)\s*(,|$)""")

_STREAM = 3
"""Random numbers of their own, beside those of windows and of masks."""

_TOLERANCE = 1e-6


def is_mixture(data: str) -> bool:
    """Whether data is a mixture of others."""
    return re.match(r"\s*mix\s*\(", data) is not None


def read_mixture(data: str) -> dict[str, float]:
    """The parts of a mixture with their weights, in the order in which they stand there.

    Raises:
        UsageError: text that cannot be read, a part twice, or weights that do not add up to 1.
    """
    inside = data.strip().removeprefix("mix").strip()
    if not inside.endswith(")"):
        raise UsageError(f"the mixture {data} does not end with a bracket: write mix(a.jsonl=0.7, b.txt=0.3)")
    weights, rest = dict[str, float](), inside[1:-1].strip()
    while rest:
        found = _ITEM.match(rest)
        if found is None:
            raise UsageError(
                f"the mixture cannot be read from {rest[:40]!r} on: write mix(a.jsonl=0.7, b.txt=0.3), with quotes "
                "around a path that has commas or brackets"
            )
        name = next(group for group in found.groups()[:3] if group is not None)
        if name in weights:
            raise UsageError(f"the mixture has {name!r} twice: add up its weights")
        weights[name] = _weight(name, found[4])
        rest = rest[found.end() :]
    total = math.fsum(weights.values())
    if not weights or abs(total - 1) > _TOLERANCE:
        raise UsageError(f"the weights of a mixture add up to 1, and those of {data} to {total:.6g}: change them")
    return weights


def write_mixture(weights: Mapping[str, float]) -> str:
    """The mixture as it is read."""
    return f"mix({', '.join(f'{_quoted(name)}={weight!r}' for name, weight in weights.items())})"


def _quoted(name: str) -> str:
    if not set(name) & set(",'\"()=") and name == name.strip():
        return name
    return f'"{name}"' if "'" in name else f"'{name}'"


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight <= 1:
        raise UsageError(f"the weight of {name!r} in the mixture is {text}: it should be above 0 and at most 1")
    return weight


@dataclass(frozen=True, eq=False)
class Mixture(Source):
    """Texts of one vocabulary; each sequence is drawn from one of them, at random by their weights.

    Args:
        name: of the mixture.
        parts: the texts.
        weights: of each, which add up to 1.
        settings: see `Source.settings`.
    """

    name: str
    parts: Sequence[Dataset]
    weights: Sequence[float]
    settings: Mapping[str, Any]

    writes_text = True

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Of the checksums of the parts, with their weights."""
        parts = [[part.sha256, weight] for part, weight in zip(self.parts, self.weights, strict=True)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """Of all parts."""
        return self.parts[0].tokenizer

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer."""
        return self.tokenizer.vocab_size

    def check_context(self, context: int) -> None:
        """Refuse a context that a split of a part cannot fill."""
        for part in self.parts:
            part.check_context(context)

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """Windows of the training splits: of which part each is, is drawn first."""
        import torch

        if seed < 0:
            raise UsageError(f"seed={seed} should be 0 or more")
        check_seed(seed)
        words = np.random.Philox(key=seed, counter=[0, step, 0, _STREAM]).random_raw(batch)
        bounds = np.cumsum(self.weights)[:-1]
        chosen = np.searchsorted(bounds, (words >> np.uint64(11)).astype(np.float64) * 2.0**-53, side="right")
        drawn, rows = list[Batch](), list[np.ndarray]()
        for number, part in enumerate(self.parts):
            of_part = np.flatnonzero(chosen == number)
            if len(of_part):
                drawn.append(part.draw(context=context, batch=len(of_part), step=step, seed=seed, stream=number + 1))
                rows.append(of_part)
        order = torch.from_numpy(np.argsort(np.concatenate(rows)))
        return _joined(drawn, order)

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Windows of the validation splits, of each part in proportion to its weight."""
        total = self._validated if limit is None else min(limit, self._validated)
        for part, weight in zip(self.parts, self.weights, strict=True):
            yield from part.validation_batches(context=context, batch=batch, limit=max(1, round(weight * total)))

    def bits_per_byte(self, loss: float) -> float:
        """The loss in bits for each byte, of validation text in the proportions of the mixture."""
        parts = zip(self.parts, self.weights, strict=True)
        return loss / math.log(2) / sum(weight * part.validation_bytes / len(part.validation) for part, weight in parts)

    def sample(self, model: "Backbone", *, tokens: int, seed: int) -> str:
        """So many tokens of text."""
        return self.parts[0].sample(model, tokens=tokens, seed=seed)

    @property
    def _validated(self) -> int:
        """How many validation tokens there are in the proportions of the mixture: some part gives all of its own."""
        return int(min(len(part.validation) / weight for part, weight in zip(self.parts, self.weights, strict=True)))


def _joined(drawn: Sequence[Batch], order: Any) -> Batch:
    import torch

    documents = [batch.documents for batch in drawn if batch.documents is not None]
    return Batch(
        torch.cat([batch.inputs for batch in drawn])[order],
        torch.cat([batch.targets for batch in drawn])[order],
        torch.cat([batch.offsets for batch in drawn])[order],
        documents=torch.cat(documents)[order] if documents else None,
    )
