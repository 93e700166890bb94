"""A comparison whose runs were made on unlike machines says so."""

import json

import pytest

from zoo.lab.compare.grid import GridListener
from zoo.lab.compare.machines import machines_of
from zoo.lab.compare.session import create_comparison, run_comparison
from zoo.train.run_directory import RunDirectory

from .samples import TINY, request


def made_on(folder, name, *, cpu="Xeon", host="a", threads=1, moved_to=None):
    run = RunDirectory.create(folder, mixer="mean", config={}, out=folder / name)
    environment = {"cpu": {"name": cpu, "capability": "AVX512"}, "threads": {"intra_op": threads}, "torch": "2.13.0"}
    run.write_environment(environment | {"device": "cpu", "host": host})
    for place in filter(None, (host, moved_to)):
        run.append_event("started", host=place)
    return run.path


def test_alike_machines_are_one_kind_however_many_they_are(tmp_path):
    found = machines_of([made_on(tmp_path, f"{host}", host=host) for host in "abc"] + [tmp_path / "nowhere"])
    assert not found.differ
    assert [(kind.cpu, runs, hosts) for kind, runs, hosts in found.kinds] == [("Xeon (AVX512)", 3, 3)]


def test_unlike_ones_are_counted_and_told(tmp_path):
    runs = [made_on(tmp_path, "1"), made_on(tmp_path, "2", moved_to="b"), made_on(tmp_path, "3", cpu="EPYC", threads=2)]
    found = machines_of(runs)
    assert found.differ
    assert str(found) == (
        "the runs were made with EPYC (AVX512), device cpu, 2 threads, torch 2.13.0 (1 run on 1 host), "
        "Xeon (AVX512), device cpu, 1 thread, torch 2.13.0 (2 runs on 1 host); 1 run moved to another host: "
        "the last digits may differ for that reason alone"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_the_results_the_page_and_the_listener_say_so(tmp_path, monkeypatch):
    notices = []
    made, folder = create_comparison(request("dot-product", settings=TINY), root=tmp_path, out=tmp_path / "out")
    assert not run_comparison(made, folder).machines.differ
    assert len(json.loads((folder.path / "results.json").read_text())["machines"]) == 1
    assert "Not all machines" not in (folder.path / "report.html").read_text()
    run = RunDirectory(folder.trial(made, made.results(0, made.only_lr(0))[0]))
    run.write_environment(run.environment | {"torch": "2.14.0"})

    listener = GridListener()
    listener.notice = notices.append
    assert run_comparison(made, folder, listener).machines.differ
    assert notices[0].startswith("not all machines were alike: the runs were made with ")
    assert "torch 2.14.0 (1 run on 1 host)" in (folder.path / "report.html").read_text()
