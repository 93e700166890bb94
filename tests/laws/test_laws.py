"""Every registered mixer, channel mixer and some hybrids, against every law, through the door of third parties."""

import dataclasses

import pytest

from zoo.plugin.kinds import CHANNEL_MIXER, MIXER
from zoo.plugin.registry import get_registry
from zoo.testing import LAWS, parametrize_with_laws
from zoo.testing.search import search
from zoo.testing.subject import subject_of

REGISTRY = get_registry()
NAMES = [REGISTRY[MIXER].display_name(entry) for entry in REGISTRY[MIXER].list()]
CHANNEL = [
    REGISTRY[CHANNEL_MIXER].display_name(entry)
    for entry in REGISTRY[CHANNEL_MIXER].list()
    if not getattr(entry.cls, "empty", False)
]
HYBRIDS = ["correlation*3, involution", "dot-product + involution", "leviathan-moe, correlation/none"]


def test_there_are_mixers_to_judge():
    assert {"correlation", "dot-product", "involution", "leviathan-moe"} <= set(NAMES)
    assert not [f"{plugin.origin}: {plugin.error}" for plugin in REGISTRY.broken]


@parametrize_with_laws(["dot-product", "involution"], examples=1, skip=["checkpointing"])
def test_some_mixers(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(NAMES, examples=5, seed=1)
def test_every_mixer_thoroughly(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(CHANNEL, kind="channel-mixer", examples=5)
def test_every_channel_mixer(law):
    law()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_mixer_compiles(name):
    """With its defaults: a case takes up to a minute, and `zoo check --thorough` looks at one for each choice."""
    law = dataclasses.replace(LAWS["compile"], varies=False)
    found = search(law, subject_of(name), examples=1, seed=0)
    assert found.breach is None
    assert found.looked_at


@pytest.mark.slow
@parametrize_with_laws(HYBRIDS, examples=3, seed=1)
def test_hybrids(law):
    law()
