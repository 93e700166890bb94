"""Mixers that use what the host passes to those that name it, and break no law."""

import torch
from torch import nn

from zoo import Mixed

from .control import Attending, Projected, counted, scores, visible, wide


def runs_of(documents):
    """The number of the document of each token, ``(b, t)``: a document is a run of equal ids."""
    changed = documents[:, 1:] != documents[:, :-1]
    return nn.functional.pad(changed.long().cumsum(1), (1, 0))


class MeanOfDocument(Projected):
    """The mean of what the document of each token holds up to it."""

    def forward(self, x, *, documents=None):
        value = wide(self.value(x))
        same = visible(value @ value.mT)
        if documents is not None:
            number = runs_of(documents)
            same = same & (number[:, :, None] == number[:, None, :])
        weights = same.to(value.dtype).expand(x.shape[0], -1, -1)
        return self.out((weights / weights.sum(-1, keepdim=True) @ value).to(x.dtype))


class AttendsInDocument(Attending):
    """Attention within a document."""

    def forward(self, x, *, documents=None):
        value, of = self.value(x), scores(self.query(x), self.key(x))
        if documents is not None:
            number = runs_of(documents)
            of = of.masked_fill(number[:, :, None] != number[:, None, :], -torch.inf)
        return self.out(self.weights(of).to(value.dtype) @ value)


class ValueResidual(Projected):
    """A running sum of values, to which that of the first layer is added; the first layer hands it up."""

    def forward(self, x, *, shared=None):
        return self.step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        own = self.value(x)
        first = (shared or {}).get("value")
        value = own if first is None else 0.5 * (own + first)
        total = wide(value).cumsum(1) + (0 if state is None else state[:, None])
        handed = {"value": own} if first is None else {}
        return Mixed(self.out(total.to(x.dtype)), shared=handed), total[:, -1].clone()


class SharesItsKeys(Attending):
    """Attention that hands up all keys and values so far; a later layer keeps none of its own."""

    def forward(self, x, *, shared=None):
        return self.step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        taken = (shared or {}).get("keys and values")
        if taken is None:
            new = torch.cat([self.key(x), self.value(x)], dim=-1)
            taken = new if state is None else torch.cat([state, new], dim=1)
            state = taken
        else:
            state = None
        key, value = taken.chunk(2, dim=-1)
        out = self.out(self.attend(self.query(x), key, value))
        return Mixed(out, shared={} if state is None else {"keys and values": taken}), state


class EmbedsAgain(Projected):
    """Adds a projection of the embedding, where there is one."""

    def forward(self, x, *, shared=None):
        return self.step(x, shared=shared)[0]

    def step(self, x, state=None, *, shared=None):
        embedding = (shared or {}).get("embedding")
        return self.out(self.value(x if embedding is None else x + embedding)), None


class EveryFour(Projected):
    """A slow state takes in the sum of four tokens whenever a row has seen four more."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        b, _, d = x.shape
        start = torch.zeros(b, 2, d, dtype=wide(x).dtype, device=x.device), torch.zeros(b, dtype=torch.int64)
        memory, count = start if state is None else state
        (fast, slow), count, written = memory.unbind(1), count.to(x.device), []
        for value in wide(self.value(x)).unbind(1):
            fast, count = fast + value, count + 1
            full = self.full(count)[:, None]
            slow, fast = slow + full * fast, torch.where(full, 0.0, fast)
            written.append(slow + 0.5 * fast)
        return self.out(torch.stack(written, dim=1).to(x.dtype)), (torch.stack([fast, slow], dim=1), count)

    def full(self, count):
        return count % 4 == 0


class StepReturnsMixed(Projected):
    """The step returns its write in a Mixed, with a metric."""

    def step(self, x, state=None):
        out, state = super().step(x, state)
        return Mixed(out, metrics={"age": counted(x).sum().detach()}), state


SOUND = [MeanOfDocument, AttendsInDocument, ValueResidual, SharesItsKeys, EmbedsAgain, EveryFour, StepReturnsMixed]
