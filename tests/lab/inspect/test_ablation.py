import pytest
import torch
import torch.nn.functional as F

from zoo.contract import Mixed
from zoo.lab.inspect.inspection import switched_off
from zoo.model.parts import parts_of
from zoo.train.evaluate import evaluate

from .models import batches, build


def by_hand(model):
    """Loss and accuracy, one target at a time."""
    losses, right = [], []
    for batch in batches():
        inputs, targets = batch.inputs, batch.targets
        logits = model(inputs).logits
        for row, place in (targets != -100).nonzero().tolist():
            losses.append(-F.log_softmax(logits[row, place], dim=0)[targets[row, place]].item())
            right.append(int(logits[row, place].argmax()) == int(targets[row, place]))
    return sum(losses) / len(losses), sum(right) / len(right), len(losses)


def test_the_score_is_the_mean_over_all_targets():
    found = evaluate(build(), batches(), precision="fp32")
    loss, accuracy, targets = by_hand(build())
    assert (found.targets, found.accuracy) == (targets, accuracy)
    assert found.targets == 3 * 6 + 3
    assert found.loss == pytest.approx(loss, abs=1e-6)


def part_named(model, name):
    return next(part for part in parts_of(model) if part.name == name)


@pytest.mark.parametrize(
    ("part", "silent"),
    [("0.means", {"first": 0.0}), ("0.speaks", {"second": 0.0}), ("0.channel", {"silent_channel": True})],
)
def test_switching_a_part_off_is_a_model_whose_part_writes_zero(part, silent):
    model = build()
    whole = evaluate(model, batches(), precision="fp32")
    with switched_off(model, part_named(model, part)):
        without = evaluate(model, batches(), precision="fp32")
    assert without == evaluate(build(**silent), batches(), precision="fp32")
    assert without.loss != whole.loss
    assert evaluate(model, batches(), precision="fp32") == whole


def test_what_a_mixer_says_beside_its_write_stays():
    model = build()
    speaks = model.layers[0].mixers[1]
    x = torch.ones(2, 3, 8)
    with switched_off(model, part_named(model, "0.speaks")):
        silenced = speaks(x)
    assert isinstance(silenced, Mixed)
    assert torch.equal(silenced.out, torch.zeros_like(x))
    assert silenced.metrics["size"] == 1
    assert silenced.losses["aux"] == 1


def test_a_part_is_on_again_after_an_error():
    model = build()
    with pytest.raises(RuntimeError, match="stop"), switched_off(model, part_named(model, "0.channel")):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in model.modules())


def test_the_parts_come_in_the_order_in_which_they_write():
    parts = parts_of(build())
    assert [part.name for part in parts] == ["0.means", "0.speaks", "0.channel", "1.means"]
    assert [part.layer for part in parts] == [0, 0, 0, 1]
    assert [part.kind for part in parts] == ["token", "token", "channel", "token"]
