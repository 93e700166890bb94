"""Mixers that are wrong in what they carry from step to step, or at some lengths only."""

import torch
import torch.nn.functional as F
from torch import nn

from .control import Attending, Control, Projected, counted, running_mean, scores, wide


class Summing(Projected):
    """A mean whose state is what was summed so far and how many tokens that was."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        total, count = self.begin(x) if state is None else state
        totals = total[:, None] + wide(self.value(x)).cumsum(1)
        counts = count[:, None] + counted(x)
        return self.out((totals / counts[..., None]).to(x.dtype)), (totals[:, -1].clone(), counts[:, -1].clone())

    def begin(self, x):
        return torch.zeros_like(wide(x[:, 0])), torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)


class Convolving(Projected):
    """A sum of the last four values, whose state is the last three."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        value = self.value(x)
        past = value.new_zeros(x.shape[0], 3, x.shape[2]) if state is None else state
        values = torch.cat([past, value], dim=1)
        return self.out(sum(values[:, lag : lag + x.shape[1]] for lag in range(4))), self.keep(values, x.shape[1])

    def keep(self, values, _time):
        return values[:, -3:].clone()


class ForgetsBeyond64(Projected):
    """The cache holds 64 tokens and drops the oldest without a word."""

    def step(self, x, state=None):
        written, reads = super().step(x, state)
        return written, reads[:, -64:].clone()


class TableOf64(Projected):
    """The table of positions has 64 rows, of which nobody was told."""

    def __init__(self, dim):
        super().__init__(dim)
        self.positions = nn.Embedding(64, dim)

    def mix(self, value):
        return running_mean(value) * self.positions.weight[counted(value) - 1]


class ChunkSeesItself(Projected):
    """What a chunk of 64 is given of the chunks before includes the chunk itself, from the second on."""

    def mix(self, value):
        totals = [
            chunk.cumsum(1) + (value[:, : 64 * index + chunk.shape[1]].sum(1, keepdim=True) if index else 0)
            for index, chunk in enumerate(wide(value).split(64, dim=1))
        ]
        return (torch.cat(totals, dim=1) / counted(value)[:, None]).to(value.dtype)


class DecaysInHalfPrecision(Projected):
    """The powers of the decay are held in float16, which ends at 2**16."""

    def mix(self, value):
        power = (2.0 ** counted(value).float()).half().to(wide(value).dtype)[:, None]
        return ((wide(value) * power).cumsum(1) / power).to(value.dtype)


class DropsTheRestOfChunks(Projected):
    """Beyond 64 tokens the mean is taken in chunks of 32, and what is left over is zero."""

    def mix(self, value):
        mean = running_mean(value)
        whole = value.shape[1] // 32 * 32
        return mean if value.shape[1] <= 64 else F.pad(mean[:, :whole], (0, 0, 0, value.shape[1] - whole))


class RestartsCount(Summing):
    """The mean is divided by the tokens of the piece, not by those of the text."""

    def step(self, x, state=None):
        total, count = self.begin(x) if state is None else state
        return super().step(x, (total, torch.zeros_like(count)))


class RestartsRotary(Attending):
    """Rotary positions start at zero in every piece, while the cache holds keys that are rotated already."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        query, key, value = self.rotate(self.query(x)), self.rotate(self.key(x)), self.value(x)
        if state is not None:
            key, value = torch.cat([state[0], key], dim=1), torch.cat([state[1], value], dim=1)
        return self.out(self.attend(query, key, value)), (key, value)

    def rotate(self, x):
        first, second = wide(x).chunk(2, dim=-1)
        angle = counted(x)[:, None].to(first.dtype) / 10 ** torch.linspace(0, 2, first.shape[-1], device=x.device)
        turned = first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()
        return torch.cat(turned, dim=-1).to(x.dtype)


class OnlyOneTokenAtATime(Summing):
    """A step is right for single tokens, and writes for all tokens of a piece what is right for its last."""

    def forward(self, x):
        return self.out(running_mean(self.value(x)))

    def step(self, x, state=None):
        written, state = super().step(x, state)
        return written[:, -1:].expand_as(x), state


class AlignsMaskTopLeft(Attending):
    """The causal mask of a step starts at the oldest key, as that of the fused attention does."""

    def attend(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    def step(self, x, state=None):
        key, value = self.key(x), self.value(x)
        if state is not None:
            key, value = torch.cat([state[0], key], dim=1), torch.cat([state[1], value], dim=1)
        return self.out(self.attend(self.query(x), key, value)), (key, value)


class KeepsTooFew(Convolving):
    """The state is one value shorter than the kernel reaches."""

    def keep(self, values, _time):
        return F.pad(values[:, -2:], (0, 0, 1, 0))


class KeepsThisPieceOnly(Convolving):
    """The state is cut from the piece alone, so that short pieces forget what came before them."""

    def keep(self, values, time):
        return F.pad(values[:, 3:], (0, 0, 3, 0))[:, -3:].clone()


class PositionAsNumber(Summing):
    """The state holds the position as a Python number."""

    def step(self, x, state=None):
        total, position = (self.begin(x)[0], 0) if state is None else state
        count = torch.full((x.shape[0],), position, device=x.device)
        written, (total, _) = super().step(x, (total, count))
        return written, (total, position + x.shape[1])


class PositionForAllRows(Summing):
    """The state holds one position for all rows."""

    def step(self, x, state=None):
        written, (total, count) = super().step(x, state and (state[0], state[1].expand(x.shape[0])))
        return written, (total, count[0])


class TimeBeforeBatch(Projected):
    """The cache is (t, b, d)."""

    def step(self, x, state=None):
        written, reads = super().step(x, None if state is None else state.transpose(0, 1))
        return written, reads.transpose(0, 1)


class HeadsAmongRows(Summing):
    """The first axis of the state is rows times heads."""

    def step(self, x, state=None):
        total, count = self.begin(x) if state is None else (state[0].view(x.shape[0], -1), state[1])
        written, (total, count) = super().step(x, (total, count))
        return written, (total.view(2 * x.shape[0], -1), count)


class CachesInModule(Projected):
    """The cache is an attribute of the module; what is called the state says only whether there is one."""

    cache = None

    def step(self, x, state=None):
        written, self.cache = super().step(x, None if state is None else self.cache)
        return written, torch.ones(x.shape[0], dtype=torch.bool, device=x.device)


class UpdatesStateInPlace(Summing):
    """The state that a step was given is updated in place, and returned."""

    def step(self, x, state=None):
        state = self.begin(x) if state is None else state
        written, after = super().step(x, state)
        for kept, new in zip(state, after, strict=True):
            kept.copy_(new)
        return written, state


class CountsInPlace(Summing):
    """The position in the state is counted on in place."""

    def step(self, x, state=None):
        total, count = self.begin(x) if state is None else state
        written, (total, _) = super().step(x, (total, count))
        count += x.shape[1]
        return written, (total, count)


class FillsCacheInPlace(Projected):
    """The cache has room to spare, which all steps that start from one state fill at the same place."""

    def step(self, x, state=None):
        room, start = (x[:, :0], 0) if state is None else (state[0], int(state[1][0]))
        end = start + x.shape[1]
        if end > room.shape[1]:
            room = F.pad(room, (0, 0, 0, 2 * end))
        room[:, start:end] = x
        written = self(room[:, :end].clone())[:, start:]
        return written, (room, torch.full((x.shape[0],), end, device=x.device))


class KeepsAllPrefixes(Projected):
    """The state holds the cache of every step so far."""

    def step(self, x, state=None):
        written, reads = super().step(x, state[-1] if state else None)
        return written, (*(state or ()), reads)


class KeepsScores(Attending):
    """The state holds the scores of all pairs of tokens, which no step needs."""

    def step(self, x, state=None):
        written, reads = super().step(x, None if state is None else state[0])
        return written, (reads, scores(self.query(reads), self.key(reads)))


class KeepsViewsOfWhole(Projected):
    """The cache is a list of pieces, each a view that keeps alive all that was joined at its step."""

    def step(self, x, state=None):
        reads = torch.cat([*(state or ()), x], dim=1)
        return self(reads)[:, -x.shape[1] :], (*(state or ()), reads[:, -x.shape[1] :])


class KeepsViewOfPiece(Convolving):
    """The state of three values is a view, which keeps a whole long piece alive."""

    def keep(self, values, time):
        return values[:, -3:]


class DetachesState(Summing):
    """The state is detached, as truncated backpropagation through time does."""

    def step(self, x, state=None):
        written, (total, count) = super().step(x, state)
        return written, (total.detach(), count)


class DetachesCachedKeys(Attending):
    """The keys in the cache are detached, the values are not."""

    def step(self, x, state=None):
        query, key, value = self.query(x), self.key(x), self.value(x)
        if state is not None:
            key, value = torch.cat([state[0].detach(), key], dim=1), torch.cat([state[1], value], dim=1)
        return self.out(self.attend(query, key, value)), (key, value)


class StepsWithoutGradient(Projected):
    """Steps are for decoding, and so run without gradients."""

    @torch.no_grad()
    def step(self, x, state=None):
        return super().step(x, state)


class ClampsBeyondLength(Projected):
    """Says how long it can be, and takes the last row of its table for whatever lies beyond."""

    max_length = 64

    def __init__(self, dim):
        super().__init__(dim)
        self.positions = nn.Embedding(64, dim)

    def mix(self, value):
        return running_mean(value) * self.positions.weight[(counted(value) - 1).clamp(max=63)]


class LooksRowsUpByNumber(Summing):
    """The state holds the numbers of its rows, and is looked up by them."""

    def step(self, x, state=None):
        if state is not None:
            *sums, number = state
            state = tuple(of[number % len(of)] for of in sums)
        written, (total, count) = super().step(x, state)
        return written, (total, count, torch.arange(x.shape[0], device=x.device))


class TakesPositionOfFirstRow(Summing):
    """All rows divide by the count of the first, which is right until rows of different ages meet."""

    def step(self, x, state=None):
        if state is not None:
            total, count = state
            state = total, count[:1].expand_as(count)
        return super().step(x, state)


class StepWritesInPlace(Projected):
    """The step takes the mean away from its reads, where they lie."""

    def step(self, x, state=None):
        return super().step(x.sub_(x.mean(-1, keepdim=True)), state)


BROKEN: list[tuple[str, type[Control]]] = [
    ("lengths", ForgetsBeyond64),
    ("lengths", TableOf64),
    ("lengths", ChunkSeesItself),
    ("lengths", DecaysInHalfPrecision),
    ("lengths", DropsTheRestOfChunks),
    ("streaming", RestartsCount),
    ("streaming", RestartsRotary),
    ("streaming", OnlyOneTokenAtATime),
    ("streaming", AlignsMaskTopLeft),
    ("streaming", KeepsTooFew),
    ("streaming", KeepsThisPieceOnly),
    ("state-rows", PositionAsNumber),
    ("state-rows", PositionForAllRows),
    ("state-rows", TimeBeforeBatch),
    ("state-rows", HeadsAmongRows),
    ("state-value", CachesInModule),
    ("state-value", UpdatesStateInPlace),
    ("state-value", CountsInPlace),
    ("state-value", FillsCacheInPlace),
    ("state-growth", KeepsAllPrefixes),
    ("state-growth", KeepsScores),
    ("state-growth", KeepsViewsOfWhole),
    ("state-growth", KeepsViewOfPiece),
    ("step-gradients", DetachesState),
    ("step-gradients", DetachesCachedKeys),
    ("step-gradients", StepsWithoutGradient),
    ("lengths", ClampsBeyondLength),
    ("state-rows", LooksRowsUpByNumber),
    ("row-phases", TakesPositionOfFirstRow),
    ("purity", StepWritesInPlace),
]
