"""What the doctor says of facts, which are faked, and of this machine."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
from zoo.describe.doctor import VARIABLES, examine
from zoo.describe.facts import Facts, find_unmet, gather_facts, read_memory, read_quota
from zoo.files.environment import find_compiler

GB = 10**9

PLUGIN = {"distribution": "mixer-zoo", "version": "0.1.0", "status": "ok", "error": None, "changed_global_state": []}

HEALTHY = Facts(
    versions={"zoo": "0.1.0", "Python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
    system="Linux-6.1",
    processor="Example 1000",
    cores=8,
    quota=None,
    threads=8,
    load=0.5,
    others=0,
    busy=False,
    memory=(20 * GB, 32 * GB),
    cache="/cache",
    cache_size=3 * GB,
    cache_free=100 * GB,
    cache_writable=True,
    folder_free=100 * GB,
    folder_writable=True,
    devices={"cuda:0": "Example GPU, 80 GB"},
    unused_gpu=False,
    bf16=("cuda:0",),
    compiler="/usr/bin/c++",
    python_headers=True,
    plugins=(PLUGIN,),
    unmet={},
    variables={},
)
BROKEN = {**PLUGIN, "distribution": "acme", "version": "1.2", "status": "broken", "error": "No module named 'acme_ops'"}
CHANGED = {**PLUGIN, "distribution": "acme", "version": "1.2", "changed_global_state": ["the default dtype"]}


def test_nothing_is_wrong_with_a_healthy_machine():
    findings = examine(HEALTHY)
    assert {finding.status for finding in findings} == {"ok"}
    assert not any(finding.advice for finding in findings)
    assert [finding.topic for finding in findings] == [
        *("versions", "processor", "threads", "load", "memory", "disk", "devices", "bf16", "compiler", "cache"),
        *("plugins", "variables"),
    ]


@pytest.mark.parametrize(
    ("changes", "topic", "status", "text", "advice"),
    [
        ({"folder_free": GB // 10}, "disk", "problem", "0.1 GB free here", "zoo runs rm"),
        ({"cache_free": 2 * GB}, "disk", "note", "2.0 GB for the cache", "set ZOO_CACHE"),
        ({"folder_writable": False}, "disk", "note", "cannot be written to", "change to a folder"),
        (
            {"plugins": (PLUGIN, BROKEN)},
            "plugins",
            "problem",
            "acme 1.2 is broken: No module",
            "ZOO_BLOCK_PLUGINS=acme",
        ),
        ({"plugins": (CHANGED,)}, "plugins", "note", "changed global state", "remove that"),
        ({"plugins": ()}, "plugins", "problem", "no mixer", "ZOO_PLUGINS"),
        (
            {"unmet": {"acme": "mixer-zoo>=9"}},
            "plugins",
            "problem",
            "acme asks for mixer-zoo>=9",
            "pip install -U acme",
        ),
        ({"compiler": None}, "compiler", "note", "none", "apt install g++"),
        ({"python_headers": False}, "compiler", "note", "without Python.h", "python3-dev"),
        (
            {"threads": 1, "variables": {"OMP_NUM_THREADS": "1"}},
            *("threads", "note", "torch computes with 1 (OMP_NUM_THREADS=1) of 8 cores", "unset OMP_NUM_THREADS"),
        ),
        ({"threads": 1}, "threads", "note", "1 of 8 cores", "set OMP_NUM_THREADS=8"),
        (
            {"threads": 4, "variables": {"MKL_NUM_THREADS": "4"}},
            *("threads", "note", "4 (MKL_NUM_THREADS=4) of 8", "unset MKL_NUM_THREADS unless"),
        ),
        ({"threads": 16}, "threads", "note", "torch computes with 16", "set OMP_NUM_THREADS=8"),
        ({"quota": 2.0}, "processor", "note", "gets the time of 2", "set OMP_NUM_THREADS=2"),
        ({"others": 3, "busy": True}, "load", "note", "3 other processes want to run", "close them"),
        ({"others": 1, "busy": True, "load": None}, "load", "note", "1 other process wants to run", "wait"),
        ({"memory": (GB // 2, 32 * GB)}, "memory", "problem", "0.5 GB of 32.0 GB free", "zoo train --dry-run"),
        ({"memory": (2 * GB, 32 * GB)}, "memory", "note", "2.0 GB of", "smaller model"),
        ({"unused_gpu": True, "devices": {}}, "devices", "note", "cannot use", "built for CUDA"),
        ({"cache_writable": False}, "cache", "problem", "cannot be written to", "set ZOO_CACHE"),
        ({"cache_size": 30 * GB}, "cache", "note", "30.0 GB", "may be removed"),
        ({"versions": {"zoo": "not installed"}}, "versions", "problem", "zoo not installed", "install the zoo"),
        ({"variables": {"ZOO_PLUGIN": "x"}}, "variables", "note", "(did you mean 'ZOO_PLUGINS'?)", "unset ZOO_PLUGIN"),
    ],
)
def test_what_is_found_and_what_to_do(changes, topic, status, text, advice):
    (found,) = (finding for finding in examine(replace(HEALTHY, **changes)) if finding.status != "ok")
    assert (found.topic, found.status) == (topic, status)
    assert text in found.text
    assert advice in found.advice


@pytest.mark.parametrize(
    ("changes", "topic", "text"),
    [
        ({"threads": 4}, "threads", "torch computes with 4"),  # a core has two hardware threads
        ({"quota": 2.0, "threads": 2}, "processor", "gets the time of 2"),
        ({"memory": None}, "memory", "does not tell"),
        ({"bf16": ()}, "bf16", "does not pay here"),
        ({"cache_free": None, "folder_free": None}, "disk", "an unknown size free here"),
        ({"variables": {"ZOO_CACHE": "/c"}}, "variables", "ZOO_CACHE=/c"),
        ({"variables": {"OMP_WAIT_POLICY": "PASSIVE"}}, "threads", "(OMP_WAIT_POLICY=PASSIVE)"),
    ],
)
def test_what_is_all_right(changes, topic, text):
    findings = examine(replace(HEALTHY, **changes))
    assert {finding.status for finding in findings} == {"ok"}
    assert text in next(finding.text for finding in findings if finding.topic == topic)


def test_memory_and_time_of_a_container(tmp_path):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n")
    assert read_memory(info, tmp_path) == (600 * 1024, 1000 * 1024)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("300000\n")
    assert read_memory(info, tmp_path) == (600 * 1024, 1000 * 1024)
    (tmp_path / "memory.max").write_text("400000\n")
    assert read_memory(info, tmp_path) == (100_000, 400_000)
    assert read_memory(tmp_path / "missing", tmp_path) is None
    for text, quota in (("max 100000", None), ("150000 100000", 1.5), ("", None)):
        (tmp_path / "cpu.max").write_text(text)
        assert read_quota(tmp_path / "cpu.max") == quota
    assert read_quota(tmp_path / "missing") is None


def test_the_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler({}) is None
    for name in ("g++", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_compiler({}) == str(tmp_path / "g++")
    assert find_compiler({"CXX": "mine"}) == str(tmp_path / "mine")
    assert find_compiler({"CXX": "missing"}) is None


def test_a_plugin_that_asks_for_another_zoo(tmp_path, monkeypatch):
    for name, asked in (
        ("acme", "Mixer_Zoo>=99"),
        ("fine", "mixer-zoo>=0.0.1"),
        ("odd", "mixer-zoo ((("),
        ("old", "mixer-zoo[testing]<100,>=2.5; python_version > '3'"),
        ("other", "mixer-zoo-tools>=9"),
        ("any", "mixer-zoo"),
    ):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\nRequires-Dist: torch\nRequires-Dist: {asked}\n"
        (info / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_unmet({"acme", "fine", "odd", "old", "other", "any", "missing", "mixer-zoo"}) == {
        "acme": "mixer-zoo>=99",
        "old": "mixer-zoo>=2.5",
    }


def test_the_command_prints_a_line_each(zoo, distribution):
    healthy = zoo("doctor")
    assert healthy.code in {0, 3}, healthy.err
    assert healthy.out.splitlines()[0].split()[1:3] == ["versions", "zoo"]
    assert "mixer-zoo" in healthy.out
    distribution("acme", "raise ImportError('no ops')")
    broken = zoo("doctor")
    assert broken.code == 3
    assert "problem  plugins    acme 1.2 is broken: ImportError: no ops" in broken.out
    assert "→ zoo plugins --json shows where; do without it: ZOO_BLOCK_PLUGINS=acme" in broken.out


def test_the_command_prints_json(zoo):
    printed = json.loads(zoo("doctor", "--json").out)
    assert set(printed) == {"findings", "facts"}
    assert set(printed["findings"][0]) == {"topic", "status", "text", "advice"}
    assert set(printed["facts"]) == set(vars(HEALTHY))
    assert printed["facts"]["threads"] >= 1


def test_a_cache_that_cannot_be(zoo, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    facts = gather_facts(others=0, busy=False)
    assert (facts.cache_writable, facts.cache_size) == (False, 0)


def test_the_variables_are_those_that_the_code_reads():
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(zoo.__path__[0]).rglob("*.py"))
    assert set(re.findall(r"\bZOO_[A-Z_]+\b", sources)) - {"ZOO_PLUGIN"} == set(VARIABLES)
