import pytest
import torch

from zoo import Panel, TokenMixer, create_mixer
from zoo.lab.inspect.panels import MAX_PANELS, PanelFailure, PanelResult, collect_panels
from zoo.model.parts import Part


def panel(values=None, axes=("n",)):
    return Panel("a", "b", torch.ones(2) if values is None else values, "c", axes)


class Offers(TokenMixer):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def panels(self, x):
        return self.make(x)


def offered(make):
    mixer = Offers(make)
    return list(collect_panels([Part(0, "offers", "token", mixer)], [torch.arange(3.0).view(1, 3, 1)]))


def raising(_x):
    raise RuntimeError("two\nlines")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (raising, "RuntimeError: two lines"),
        (lambda _x: None, "TypeError: 'NoneType' object is not iterable"),
        (lambda _x: [panel(), "picture"], "TypeError: panels() should give zoo.Panel objects, not str"),
        (lambda _x: [panel(torch.ones(0))], "ValueError: values should be (n,), (n, m)"),
        (lambda _x: iter(panel, 0), f"ValueError: panels() gave more than {MAX_PANELS} panels"),
        (lambda _x: [panel(torch.ones(2, device="meta"))], "NotImplementedError: Cannot copy out of meta tensor"),
    ],
)
def test_a_mixer_whose_panels_are_none_is_told(make, error):
    (failed,) = offered(make)
    assert isinstance(failed, PanelFailure)
    assert (failed.part, failed.mixer) == ("0.offers", "Offers")
    assert failed.distribution.startswith("the module ")
    assert failed.error.startswith(error)


def test_the_distribution_of_a_registered_mixer_is_named(monkeypatch):
    mixer = create_mixer("dot-product", dim=8)
    monkeypatch.setattr(type(mixer), "panels", lambda _self, x: raising(x))
    (failed,) = collect_panels([Part(3, "dot-product", "token", mixer)], [torch.zeros(1, 2, 8)])
    assert (failed.part, failed.mixer, failed.distribution) == ("3.dot-product", "dot-product", "mixer-zoo")


def test_panels_are_made_of_the_reads_without_gradients_and_cannot_change_them():
    reads = torch.ones(1, 2, 3)

    def make(x):
        assert not torch.is_grad_enabled()
        x += 1
        return [panel(x.half().flatten()), panel(torch.tensor([True, False]))]

    mixer = Offers(make)
    first, second = collect_panels([Part(0, "offers", "token", mixer)], [reads])
    assert isinstance(first, PanelResult)
    assert first.heading == "0.offers: a"
    assert first.panel.values.tolist() == [2.0] * 6
    assert second.panel.values.tolist() == [1.0, 0.0]
    assert reads.eq(1).all()


def test_channel_mixers_are_not_asked():
    assert list(collect_panels([Part(0, "channel", "channel", torch.nn.Identity())], [torch.zeros(1, 2, 3)])) == []
