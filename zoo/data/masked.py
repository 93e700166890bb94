"""A text some of whose tokens are masked, to be predicted from those on both sides of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from zoo.data.batches import spread_windows
from zoo.data.dataset import Dataset
from zoo.data.source import IGNORE, Batch, Source
from zoo.data.tokens import chunks_of, windows_of
from zoo.model.backbone import Backbone
from zoo.tokenizer import Tokenizer

_TRAINING, _VALIDATION = 1, 2
"""Streams of random numbers of their own, beside the one from which windows are drawn."""

_VALIDATION_KEY = 0
"""The validation masks do not depend on the seed of a run: all runs are measured on the same tokens."""

_MASKED, _RANDOM = 8, 9
"""Of ten chosen tokens eight become the mask token, the ninth a random one, and the tenth stays."""


@dataclass(frozen=True, eq=False)
class MaskedText(Source):
    """A text as BERT learns it: a fraction of the tokens is chosen, and predicted from all others.

    Of the chosen tokens 80 % are replaced by the mask token, 10 % by a random token, and 10 % stay (Devlin et al.
    2019, arXiv:1810.04805). A window has always the same number of them, one at least. What separates two documents
    is not chosen: the documents of a batch would give it away.

    Args:
        text: the corpus, split and encoded.
        rate: the fraction of the tokens that is chosen.
    """

    text: Dataset
    rate: float

    unit = "nats per masked token"

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the corpus."""
        return self.text.name

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Of the corpus."""
        return self.text.sha256

    @property
    def tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """Of the corpus; it has no mask token."""
        return self.text.tokenizer

    @property
    def mask_token(self) -> int:
        """What a chosen token is replaced by: the one behind those of the tokenizer. It is never a target."""
        return self.text.vocab_size

    @property
    def vocab_size(self) -> int:
        """The tokens of the tokenizer, and the mask token."""
        return self.text.vocab_size + 1

    def check_context(self, context: int) -> None:
        """Refuse a context that a split cannot fill."""
        self.text.check_context(context)

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """The windows of the training split that a model of the next token would get, masked."""
        windows = self.text.draw(context=context, batch=batch, seed=seed, step=step)
        words = _words(seed, step, _TRAINING, batch * context)
        return self._masked(windows.inputs.numpy(), windows.offsets.numpy(), words, documents=windows.documents)

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Windows that cover the validation split, or are spread over it; the masks of a window are always the same."""
        tokens = self.text.validation
        offsets = spread_windows(len(tokens), context, limit)
        for some in np.split(offsets, range(batch, len(offsets), batch)):
            # The last window is moved to the left, so that it is full, and only what is new in it can be chosen.
            starts = np.minimum(some, len(tokens) - context)
            inputs = windows_of(tokens, starts, context).astype(np.int64)
            words = [_words(_VALIDATION_KEY, int(start), _VALIDATION, context) for start in starts]
            numbering = self.text.document_ids(tokens)
            documents = None if numbering is None else torch.from_numpy(numbering(inputs, starts))
            yield self._masked(inputs, starts, np.concatenate(words, axis=1), new=some - starts, documents=documents)

    def unigram_loss(self, *, context: int, limit: int | None = None) -> float:
        """The cross-entropy of the validation targets under the token frequencies of the training split."""
        if (context, limit) not in self._known_losses:
            counts = np.zeros(self.vocab_size, dtype=np.int64)
            for batch in self.validation_batches(context=context, batch=256, limit=limit):
                counts += np.bincount(batch.at_predictions(batch.targets).numpy(), minlength=self.vocab_size)
            self._known_losses[context, limit] = float(counts @ self._unigram_nats / counts.sum())
        return self._known_losses[context, limit]

    @torch.no_grad()
    def sample(self, model: Backbone, *, tokens: int, seed: int) -> str:  # noqa: ARG002 - nothing is drawn
        """Validation tokens, with the model's guess at each masked one: ``⟦e⟧``.

        Where the guess is wrong, the token that was there follows it: ``⟦a|e⟧``.
        """
        size = max(1, tokens // model.context)
        batch = next(self.validation_batches(context=model.context, batch=size, limit=tokens))
        device = next(model.parameters()).device
        guesses = model.eval()(batch.inputs.to(device), **batch.documents_for(device)).logits.argmax(-1).cpu()
        model.train()
        rows = (values[:, :tokens].tolist() for values in (batch.inputs, batch.targets, guesses))
        return "\n\n".join(self._filled(*window) for window in zip(*rows, strict=True))

    def _filled(self, inputs: list[int], targets: list[int], guesses: list[int]) -> str:
        pieces, plain = [], list[int]()
        for token, target, guess in zip(inputs, targets, guesses, strict=True):
            if target == IGNORE:
                plain.append(token)  # decoded together: a character may take several tokens
                continue
            predicted, correct = (repr(self._symbol(answer))[1:-1] for answer in (guess, target))
            marked = f"⟦{predicted}⟧" if guess == target else f"⟦{predicted}|{correct}⟧"
            pieces += [self.tokenizer.decode(plain), marked]
            plain = []
        return "".join([*pieces, self.tokenizer.decode(plain)])

    def _symbol(self, token: int) -> str:
        return "" if token == self.mask_token else self.tokenizer.decode([token])

    def _masked(
        self,
        tokens: np.ndarray,
        offsets: np.ndarray,
        words: np.ndarray,
        new: np.ndarray | None = None,
        documents: torch.Tensor | None = None,
    ) -> Batch:
        """Windows, ``(b, t)``, with some tokens masked.

        Args:
            tokens: the windows.
            offsets: where each starts, ``(b,)``.
            words: random numbers, ``(3, b * t)``: which tokens are chosen, what becomes of them, and random tokens.
            new: before this position nothing is chosen, ``(b,)``.
            documents: of the tokens, where documents are separate.
        """
        rank, fate, random = words.reshape(3, *tokens.shape)
        chosen = self._chosen(tokens, rank, np.zeros_like(offsets) if new is None else new)
        fate = fate % np.uint64(10)
        inputs = np.where(chosen & (fate < _MASKED), self.mask_token, tokens)
        replaced = chosen & (fate >= _MASKED) & (fate < _RANDOM)
        inputs = np.where(replaced, (random % np.uint64(self.text.vocab_size)).astype(np.int64), inputs)
        return Batch(
            torch.from_numpy(inputs),
            torch.from_numpy(np.where(chosen, tokens, IGNORE)),
            torch.from_numpy(offsets),
            where=torch.from_numpy(np.flatnonzero(chosen)),
            documents=documents,
        )

    def _chosen(self, tokens: np.ndarray, rank: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Which tokens are predicted, ``(b, t)``: of each window those of the lowest rank."""
        may = np.arange(tokens.shape[1]) >= new[:, None]
        if self.text.separator is not None:
            others = may & (tokens != self.text.separator)
            may = np.where(others.any(axis=1, keepdims=True), others, may)
        count = np.maximum(1, np.rint(self.rate * may.sum(axis=1)))
        order = np.where(may, rank, np.uint64(2**64 - 1)).argsort(axis=1, kind="stable")
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(tokens.shape[1])[None], axis=1)
        return may & (place < count[:, None])

    @cached_property
    def _known_losses(self) -> dict[tuple[int, int | None], float]:
        return {}

    @cached_property
    def _unigram_nats(self) -> np.ndarray:
        """The nats of each token by how often it occurs in the training split; one is added, since some may not."""
        counts = np.ones(self.vocab_size)
        for part in chunks_of(self.text.train):
            counts += np.bincount(part, minlength=self.vocab_size)
        return np.log(counts[: self.mask_token].sum()) - np.log(counts)


def _words(key: int, number: int, stream: int, count: int) -> np.ndarray:
    """Random numbers, ``(3, count)``, a pure function of the arguments (Philox: Salmon et al. 2011)."""
    return np.random.Philox(key=key, counter=[0, number, 0, stream]).random_raw(3 * count).reshape(3, count)
