"""Which objectives take mixers that see later tokens, and what is said where one does not."""

from zoo.data.load import task_call
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.members import find_channel_mixer
from zoo.model.parts import parts_of
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import Registry
from zoo.train.settings import Settings


def check_causal(model: Backbone, settings: Settings, registry: Registry) -> None:
    """Refuse to train a model that would see what it is to predict.

    Raises:
        UsageError: one of its mixers is not causal, and the objective is to predict the next token, or the targets of a
            task, which may stand among the later tokens.
    """
    for part in parts_of(model):
        if not getattr(part.module, "causal", True):
            label = part.label if part.kind == "token" else type(part.module).__name__
            _refuse(label, settings, registry)


def check_causal_classes(settings: Settings, registry: Registry) -> None:
    """The same, of what the classes of the mixers say, before a model is built.

    Raises:
        UsageError: as `check_causal`.
    """
    for layer in settings.layer_calls:
        assert layer.channel is not None
        entries = [registry[MIXER].find(call.name) for call in layer.mixers]
        for entry in [*entries, find_channel_mixer(layer.channel.name, registry)]:
            if not getattr(entry.cls, "causal", True):
                _refuse(entry.name, settings, registry)


def _refuse(mixer: str, settings: Settings, registry: Registry) -> None:
    call = task_call(settings.data, registry)
    if call is not None:
        raise UsageError(
            f"{mixer} is not causal, and the targets of the task {call.name} may stand among the later tokens: a task "
            "takes causal mixers only"
        )
    if settings.text_objective.causal:
        raise UsageError(
            f"{mixer} is not causal: it would see the next token, which it is to predict; train it with "
            "`objective`=masked"
        )
