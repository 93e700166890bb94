"""Every registered mixer and some hybrids, against every law, through the door that third parties use."""

import pytest

from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import get_registry
from zoo.testing import parametrize_with_laws

REGISTRY = get_registry()
NAMES = [REGISTRY[MIXER].display_name(entry) for entry in REGISTRY[MIXER].list()]
HYBRIDS = ["correlation*3, involution", "dot-product + involution", "leviathan-moe, correlation/none"]


def test_there_are_mixers_to_judge():
    assert {"correlation", "dot-product", "involution", "leviathan-moe"} <= set(NAMES)
    assert not [f"{plugin.origin}: {plugin.error}" for plugin in REGISTRY.broken]


@parametrize_with_laws(NAMES, examples=3)
def test_every_mixer(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(NAMES, tier="full", examples=40, seed=1)
def test_every_mixer_thoroughly(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(HYBRIDS[:1], examples=2)
def test_a_hybrid(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(HYBRIDS, examples=15, seed=1)
def test_hybrids_thoroughly(law):
    law()
