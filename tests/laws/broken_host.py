"""Mixers that are wrong in what the host passes to them: documents, what is shared; and rows of different ages."""

import torch

from zoo import Mixed

from .control import Control, Projected, counted, running_mean, scores, visible, wide
from .sound_host import AttendsInDocument, EveryFour, MeanOfDocument, SharesItsKeys, ValueResidual, runs_of


class IgnoresDocuments(Projected):
    """It names documents, and does nothing with them."""

    def forward(self, x, *, documents=None):
        return super().forward(x)


class ComparesIds(AttendsInDocument):
    """Tokens of equal ids see each other, so that an id that comes again goes on with what it was before."""

    def forward(self, x, *, documents=None):
        value, of = self.value(x), scores(self.query(x), self.key(x))
        if documents is not None:
            of = of.masked_fill(documents[:, :, None] != documents[:, None, :], -torch.inf)
        return self.out(self.weights(of).to(value.dtype) @ value)


class TakesDocumentsOfFirstRow(MeanOfDocument):
    """All rows are cut where the first is."""

    def forward(self, x, *, documents=None):
        return super().forward(x, documents=None if documents is None else documents[:1].expand_as(documents))


class CountsThroughDocuments(Projected):
    """Sums start again with a document, and positions go on."""

    def forward(self, x, *, documents=None):
        value = wide(self.value(x))
        same = visible(value @ value.mT).expand(len(x), -1, -1)
        if documents is not None:
            number = runs_of(documents)
            same = same & (number[:, :, None] == number[:, None, :])
        return self.out((same.to(value.dtype) @ value / counted(x)[:, None]).to(x.dtype))


class GradientCrossesDocuments(Projected):
    """The writes know of their document alone; a straight-through term has the gradient of the whole row."""

    def forward(self, x, *, documents=None):
        whole = running_mean(self.value(x))
        inner = MeanOfDocument.forward(self, x, documents=documents)
        return inner + self.out(whole - whole.detach())


class ForgetsShared(ValueResidual):
    """The value of the first layer is added in forward and forgotten in step."""

    def forward(self, x, *, shared=None):
        return super().step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        return super().step(x, state)


class NeedsShared(ValueResidual):
    """Without the value of the first layer it fails."""

    def step(self, x, state=None, *, shared=None):
        if shared is not None and "value" not in shared:
            raise KeyError("value")
        return super().step(x, state, shared=shared)


class HandsUpNothingInStep(ValueResidual):
    """The value is handed up in forward only."""

    def forward(self, x, *, shared=None):
        return super().step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        mixed, state = super().step(x, state, shared=shared)
        return mixed.out, state


class HandsUpAnotherValue(ValueResidual):
    """In step the value that is handed up is halved."""

    def forward(self, x, *, shared=None):
        return super().step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        mixed, state = super().step(x, state, shared=shared)
        return Mixed(mixed.out, shared={name: value / 2 for name, value in mixed.shared.items()}), state


class TakesOutOfShared(ValueResidual):
    """It takes the value out of what is shared, so that no later layer finds it."""

    def step(self, x, state=None, *, shared=None):
        mixed, state = super().step(x, state, shared=shared)
        if shared:
            shared.pop("value", None)
        return mixed, state


class AnotherWithoutShared(ValueResidual):
    """An empty `shared` is another thing to it than none."""

    def step(self, x, state=None, *, shared=None):
        mixed, state = super().step(x, state, shared=shared)
        return (mixed if shared is None else Mixed(2 * mixed.out, shared=mixed.shared)), state


class StepNamesNoShared(SharesItsKeys):
    """Its step does not name `shared`."""

    def forward(self, x, *, shared=None):
        return super().step(x, shared=shared)[0]

    def step(self, x, state=None):
        return super().step(x, state)


class FullWhenTheFirstRowIs(EveryFour):
    """The slow state of all rows takes in what the fast one holds when the first row is due."""

    def full(self, count):
        return (count[:1] % 4 == 0).expand_as(count)


class FullWhenAnyRowIs(EveryFour):
    """Likewise when any row is due."""

    def full(self, count):
        return (count % 4 == 0).any().expand_as(count)


class LongPeriodOfTheLastRow(EveryFour):
    """Likewise when the last row is due, every forty tokens."""

    def full(self, count):
        return (count[-1:] % 40 == 0).expand_as(count)


BROKEN: list[tuple[str, type[Control]]] = [
    ("documents", IgnoresDocuments),
    ("documents", ComparesIds),
    ("documents", TakesDocumentsOfFirstRow),
    ("documents", CountsThroughDocuments),
    ("documents", GradientCrossesDocuments),
    ("shared-streaming", ForgetsShared),
    ("shared-streaming", NeedsShared),
    ("shared-streaming", HandsUpNothingInStep),
    ("shared-streaming", HandsUpAnotherValue),
    ("shared-streaming", TakesOutOfShared),
    ("shared-streaming", AnotherWithoutShared),
    ("shared-streaming", StepNamesNoShared),
    ("row-phases", FullWhenTheFirstRowIs),
    ("row-phases", FullWhenAnyRowIs),
    ("row-phases", LongPeriodOfTheLastRow),
]
