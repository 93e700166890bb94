"""Every registered member of every kind and some hybrids, against every law, through the door of third parties."""

import dataclasses
import os

import pytest

from zoo.corpora import shakespeare
from zoo.plugin.kinds import CHANNEL_MIXER, CORPUS, KINDS, MIXER, RESIDUAL, TASK, TOKENIZER
from zoo.plugin.registry import get_registry
from zoo.testing import check_member, parametrize_with_laws
from zoo.testing.kinds import SUITES
from zoo.testing.search import search

REGISTRY = get_registry()
NAMES = [REGISTRY[MIXER].display_name(entry) for entry in REGISTRY[MIXER].list()]
CHANNEL = [
    REGISTRY[CHANNEL_MIXER].display_name(entry)
    for entry in REGISTRY[CHANNEL_MIXER].list()
    if not getattr(entry.cls, "empty", False)
]
EXHAUSTIVE = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
"""Compiling takes seconds: `zoo check --thorough` does it for every member, and this file where it is asked to."""
COMPILED = ["differential", "gla", "mamba1", "min-gru", "hyena"]
COMPILED_SCHEMES = ["pre-norm", "attention-residuals"]
GENERATED = ["correlation", "dot-product"]
HYBRIDS = ["correlation, involution", "dot-product + involution", "leviathan-moe, correlation/none"]


def named(kind):
    return list(REGISTRY[kind].names)


def test_every_kind_has_laws():
    """A kind that is new may do without: `zoo check` then says so. One of the zoo's own may not."""
    assert [kind.name for kind in KINDS if kind.name not in SUITES] == [], "add a row to zoo/testing/kinds.py"
    for kind in KINDS:
        assert SUITES[kind.name].kind is kind
        assert any(law.grade == "sound" for law in SUITES[kind.name].laws.values())


def test_there_are_mixers_to_judge():
    assert {"correlation", "dot-product", "involution", "leviathan-moe"} <= set(NAMES)
    assert not [f"{plugin.origin}: {plugin.error}" for plugin in REGISTRY.broken]


@parametrize_with_laws(["involution"], examples=1, skip=["checkpointing"])
def test_a_mixer(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(NAMES, examples=2, seed=1)
def test_every_mixer_thoroughly(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(CHANNEL, kind="channel-mixer", examples=3)
def test_every_channel_mixer(law):
    law()


def keeps(kind, name, law):
    """With its defaults: `zoo check --thorough` looks at a case for each choice of an option."""
    suite, subject = SUITES[kind].subject(name)
    found = search(dataclasses.replace(suite.laws[law], varies=False), subject, examples=1, seed=0)
    assert found.breach is None
    assert found.looked_at


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES if EXHAUSTIVE else COMPILED)
def test_mixers_compile(name):
    keeps("mixer", name, "compile")


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATED)
def test_code_is_generated_for_some_mixers(name):
    """It takes up to a minute each."""
    keeps("mixer", name, "inductor")


@pytest.mark.slow
@parametrize_with_laws(HYBRIDS, examples=2, seed=1)
def test_hybrids(law):
    law()


@parametrize_with_laws(["sandwich"], kind="residual", examples=1, skip=["checkpointing"])
def test_a_residual_scheme(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(named(RESIDUAL), kind="residual", examples=2)
def test_every_residual_scheme(law):
    law()


@pytest.mark.slow
@pytest.mark.parametrize("name", named(RESIDUAL) if EXHAUSTIVE else COMPILED_SCHEMES)
def test_residual_schemes_compile(name):
    keeps("residual", name, "compile")


@parametrize_with_laws(["delayed-copy", "memorization"], kind="task", examples=1)
def test_some_tasks(law):
    law()


@pytest.mark.slow
@parametrize_with_laws(named(TASK), kind="task")
def test_every_task(law):
    law()


@parametrize_with_laws(named(TOKENIZER), kind="tokenizer")
def test_every_tokenizer(law):
    law()


@parametrize_with_laws([name for name in named(CORPUS) if name != "shakespeare"], kind="corpus")
def test_every_corpus_that_is_there(law):
    law()


@pytest.mark.parametrize("is_there", [True, False])
def test_the_corpus_that_is_downloaded(is_there, tmp_path, monkeypatch):
    (tmp_path / "plays.txt").write_text("First Citizen:\nBefore we proceed any further, hear me speak.\n")

    def retrieve(*given, **options):
        if not is_there:
            raise OSError("no network")
        return tmp_path / "plays.txt"

    monkeypatch.setattr("pooch.retrieve", retrieve)
    results = {result.law: result for result in check_member("corpus", "shakespeare", strict=True)}
    assert "failed" not in {result.status for result in results.values()}
    assert results["documents"].status == ("passed" if is_there else "skipped")
    if not is_there:
        assert f"get {shakespeare.URL} on a machine that can" in results["documents"].message
