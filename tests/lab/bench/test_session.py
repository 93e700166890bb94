from dataclasses import replace

import pytest

from zoo import TokenMixer
from zoo.lab.bench import session, work
from zoo.lab.bench.candidates import PLAIN, Candidate
from zoo.lab.bench.listener import Listener, Stopped
from zoo.lab.bench.request import Request
from zoo.lab.bench.session import make_ready, run_bench

from ...stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

pytestmark = pytest.mark.slow

TINY = {"dim": 16, "heads": 2, "device": "cpu", "repeats": 2, "threads": 1}
LENGTHS = (8, 16, 32)


class Log(Listener):
    def __init__(self, stop_at=None):
        self.turns, self.cells, self.expected, self.stop_at = [], [], 0, stop_at

    def start(self, turns):
        self.expected = turns

    def turn(self, kind, length, name):
        self.turns.append((kind, length, name))
        if len(self.turns) == self.stop_at:
            raise Stopped

    def done(self, cell):
        self.cells.append(cell)


def bench(*patterns, listener=None, **options):
    return run_bench(make_ready(Request(patterns=patterns, **{"lengths": LENGTHS} | TINY | options)), listener)


def test_every_cell_is_measured():
    listener = Log()
    made = bench("correlation + involution", listener=listener)
    assert made.complete
    assert not made.failed
    assert [replace(cell, roofline_seconds=None) for cell in made.cells] == listener.cells
    assert len(made.cells) == 5 * 3 * 2
    assert len(listener.turns) == listener.expected == (4 * 4 + 1) * 3 * 2
    for cell in made.cells:
        assert cell.cost > 0
        if cell.kind == "memory":
            assert cell.peak >= 2 * 4 * 16 * cell.length  # the gradient of the reads, and what is written
        else:
            assert len(cell.seconds) == 2
            assert cell.roofline_seconds == made.peaks.roofline_seconds(cell.masked_flops, cell.bytes_moved) > 0
            assert cell.flops >= cell.masked_flops > 0
    states = [cell.state for cell in made.row("decode", PLAIN)]
    assert states == [2 * 4 * 16 * length for length in LENGTHS]


def test_a_round_takes_everyone_at_every_length():
    listener = Log()
    bench("correlation", "involution", listener=listener, kinds=("train",), lengths=(8, 16))
    rounds = [(length, name) for _, length, name in listener.turns][-6:]
    names = ["correlation", "involution", PLAIN]
    assert rounds == [(length, name) for length in (8, 16) for name in names]


def test_what_was_measured_is_there_when_somebody_stops_it():
    made = bench("correlation", listener=Log(stop_at=32), kinds=("forward", "train"))
    assert not made.complete
    assert made.notes[0] == "It was interrupted: this is what was measured until then."
    assert 0 < len(made.cells) < 12
    assert all(cell.seconds for cell in made.cells)


def test_a_note_tells_of_a_restless_machine(monkeypatch):
    monkeypatch.setattr(session, "MAX_SPREAD", -1.0)
    assert any("kept the machine busy" in note for note in bench("correlation", kinds=("forward",), lengths=(8,)).notes)
    monkeypatch.setattr(session, "MAX_SPREAD", 1e9)
    assert bench("correlation", kinds=("forward",), lengths=(8,)).notes == []


def test_a_slow_cell_is_said_to_be_repeated_less(monkeypatch):
    monkeypatch.setattr("zoo.lab.bench.measure.SLOW_SECONDS", 0.0)
    made = bench("correlation", kinds=("train",), lengths=(8,), repeats=5)
    assert [len(cell.seconds) for cell in made.cells] == [3, 3]
    told = [note for note in made.notes if note.startswith("correlation, train at 8: a call takes ")]
    assert len(told) == 1
    assert told[0].endswith("so it was repeated 3 times.")


class Short(TokenMixer):
    """Takes no more than 16 tokens."""

    max_length = 16

    def forward(self, x):
        return x


def test_what_is_as_large_as_its_context_is_built_for_each_length(monkeypatch):
    seen, forward = set(), Candidate.forward

    def watched(self, embedded):
        seen.add((self.name, embedded.shape[1], self.max_length))
        return forward(self, embedded)

    monkeypatch.setattr(Candidate, "forward", watched)
    made = bench("synthesizer(heads=1)", kinds=("forward", "train"))
    assert not made.failed
    assert {(t, limit) for name, t, limit in seen if name != PLAIN} == {(t, t) for t in LENGTHS}
    shortest = bench("synthesizer(heads=1)", kinds=("forward",), lengths=LENGTHS[:1])
    grown = made.candidates[1]["parameters"] - shortest.candidates[1]["parameters"]
    assert grown == LENGTHS[-1] ** 2 - LENGTHS[0] ** 2


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory: you tried to allocate 1 byte")])
def test_what_is_too_large_at_a_length_fails_for_itself(monkeypatch, error):
    forward = Candidate.for_length

    def watched(self, tokens):
        if self.name != PLAIN and tokens >= 16:
            raise error
        return forward(self, tokens)

    monkeypatch.setattr(Candidate, "for_length", watched)
    made = bench("synthesizer(heads=1)", kinds=("forward",))
    assert made.complete
    assert [length for _, length, _ in failed(made)] == [16, 32]


class Hungry(TokenMixer):
    """Needs more memory than there is from 16 tokens."""

    asked = 0

    def forward(self, x):
        type(self).asked = max(self.asked, x.shape[1])
        if x.shape[1] >= 16:
            raise MemoryError
        return x


@pytest.fixture
def among(monkeypatch):
    """Put mixers of one's own among the candidates."""

    def put(cls):
        def build(pattern, request, device):
            from zoo.model.layer import Layer, NamedMixer

            layer = Layer([NamedMixer("own", cls())], None)
            return Candidate(pattern, [layer], pre_norm([layer], request.dim), cls.max_length)

        monkeypatch.setattr("zoo.lab.bench.candidates._build", build)
        monkeypatch.setattr("zoo.lab.bench.session.check_pattern", lambda *_given, **_options: None)

    return put


def failed(made):
    return [(cell.kind, cell.length, cell.failure) for cell in made.cells if cell.failure]


def test_what_is_too_long_fails_for_itself(among):
    among(Short)
    made = bench("own", kinds=("forward", "decode", "memory"))
    too_long = "it takes at most 16 tokens"
    assert failed(made) == [
        ("forward", 32, too_long),
        ("decode", 16, too_long),
        ("decode", 32, too_long),
        ("memory", 32, too_long),
    ]
    assert all(cell.cost for cell in made.cells if cell.candidate == PLAIN)
    assert made.failed
    assert made.complete


@pytest.mark.parametrize("kind", ["forward", "memory"])
def test_what_ran_out_of_memory_is_not_tried_at_longer_lengths(among, monkeypatch, kind):
    among(Hungry)
    monkeypatch.setattr(Hungry, "asked", 0)
    made = bench("own", kinds=(kind,))
    assert failed(made) == [(kind, 16, "out of memory"), (kind, 32, "not tried, since it ran out of memory at 16")]
    assert all(cell.cost for cell in made.cells if cell.candidate == PLAIN)
    assert Hungry.asked == 16


def test_a_failure_in_a_later_repeat_counts(monkeypatch):
    calls = []
    real = work._forward

    def failing(candidate, length, request, device):
        prepared = real(candidate, length, request, device)

        def call():
            calls.append(candidate.name)
            if candidate.name == "correlation" and calls.count("correlation") == 5:
                raise RuntimeError("worn out")
            prepared.call()

        return work.Work(call, prepared.tokens, prepared.bytes_moved)

    monkeypatch.setattr(work, "_forward", failing)
    monkeypatch.setattr("zoo.lab.bench.measure.MIN_SECONDS", 0.0)
    made = bench("correlation", kinds=("forward",), lengths=(8,), repeats=5)
    assert failed(made) == [("forward", 8, "RuntimeError: worn out")]
    assert len(made.row("forward", PLAIN)[0].seconds) == 5
