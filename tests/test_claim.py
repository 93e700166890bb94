"""A claim: one writer at a time, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from zoo.errors import ZooError
from zoo.files import claim as claims
from zoo.files.claim import Claim, LostClaimError, read_claim

PATIENCE = 0.6


def claim(path, **how):
    return Claim(path, **{"interval": 0.05, "patience": PATIENCE} | how)


@pytest.fixture
def elsewhere(monkeypatch):
    """A claim of a process that nobody here can look at, as if it were on another machine."""

    def make(path, **how):
        made = claim(path, **how)
        made._facts["process"] = ["another machine", "pid:[1]", 1, "1"]
        return made

    return make


def wait_for(there, seconds=10):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_at_a_time_and_then_the_next(tmp_path):
    path = tmp_path / "claim"
    first, second = claim(path), claim(path)
    assert first.take()
    assert first.take()
    assert not second.take()
    first.check()
    first.release()
    assert not path.exists()
    assert second.take()
    path.unlink()
    with pytest.raises(LostClaimError, match="another process has taken over"):
        second.check()
    second.release()


def test_what_the_holder_tells_is_read(tmp_path):
    path = tmp_path / "claim"
    with claim(path) as held:
        assert held.take()
        held.tell(step=7)
        wait_for(lambda: read_claim(path).get("step") == 7)
        assert len(path.read_bytes()) == 512
    assert read_claim(path) == {}


@pytest.mark.slow
def test_a_holder_that_shows_life_is_left_alone(tmp_path, elsewhere):
    path = tmp_path / "claim"
    with elsewhere(path) as held:
        assert held.take()
        other, end = claim(path), time.monotonic() + 2 * PATIENCE
        while time.monotonic() < end:
            assert not other.take()
            time.sleep(0.02)
        held.check()


@pytest.mark.slow
def test_a_holder_elsewhere_that_is_silent_is_followed(tmp_path, elsewhere, monkeypatch):
    path = tmp_path / "claim"
    dead = elsewhere(path)
    monkeypatch.setattr(dead, "_show_life", lambda: None)
    assert dead.take()
    other, began = claim(path), time.monotonic()
    assert not other.take()
    wait_for(other.take)
    assert time.monotonic() - began > PATIENCE / 2
    with pytest.raises(LostClaimError):
        dead.check()
    dead.release()
    other.check()
    assert read_claim(path)["token"] == other._token


@pytest.mark.slow
def test_a_clock_that_was_set_back_does_not_keep_a_dead_holder_alive(tmp_path, elsewhere, monkeypatch):
    path = tmp_path / "claim"
    dead = elsewhere(path)
    monkeypatch.setattr(dead, "_show_life", lambda: None)
    assert dead.take()
    tomorrow = time.time() + 86400
    os.utime(path, (tomorrow, tomorrow))
    other = claim(path)
    wait_for(other.take)


@pytest.mark.slow
def test_of_many_that_follow_one_gets_it(tmp_path, elsewhere, monkeypatch):
    for _ in range(20):
        path = tmp_path / "claim"
        path.write_text(json.dumps({"token": "dead", "process": ["another machine", "pid:[1]", 1, "1"]}))
        os.utime(path, (1, 1))
        several = [claim(path, interval=60) for _ in range(8)]
        got, ready = [], threading.Barrier(8)

        def race(one, got=got, ready=ready):
            ready.wait()
            for _ in range(5):
                if one.take():
                    got.append(one)
                    break

        threads = [threading.Thread(target=race, args=(one,)) for one in several]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holding = [one for one in got if read_claim(path).get("token") == one._token]
        assert len(holding) == 1
        for one in got:
            if one is not holding[0]:  # it had it for a moment, and learns that it has not before it writes
                with pytest.raises(LostClaimError):
                    one.check()
            one.release()
        path.unlink(missing_ok=True)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process was started")
def test_a_process_of_this_machine_that_was_killed_is_followed_at_once(tmp_path):
    path = tmp_path / "claim"
    code = "import sys, time; from pathlib import Path; from zoo.files.claim import Claim\n"
    code += "print(Claim(Path(sys.argv[1])).take(), flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "True\n"
    other = Claim(path)
    assert not other.take()
    os.kill(holder.pid, signal.SIGSTOP)
    assert not other.take()
    holder.kill()
    holder.communicate()
    began = time.monotonic()
    wait_for(other.take)
    assert time.monotonic() - began < 5
    other.release()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(claims.os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ZooError, match=r"cannot write .*: No space left on device"):
        claim(tmp_path / "claim").take()
    assert list(tmp_path.iterdir()) == []
