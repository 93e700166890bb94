import os
import signal
import threading

import pytest

from zoo.train.interrupts import Interrupts


def send(*numbers):
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_is_told(number):
    heard = []
    with Interrupts(lambda: heard.append("heard")) as interrupts:
        assert not interrupts.requested
        send(number)
        assert interrupts.requested
    assert heard == ["heard"]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_stops_at_once(first):
    heard = []
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: heard.append("heard")):
        send(first, signal.SIGINT)
    assert heard == ["heard"]


def test_a_scheduler_may_ask_many_times():
    with Interrupts() as interrupts:
        send(signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
        assert interrupts.requested


def test_a_signal_from_another_process_is_heard():
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.requested


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_handlers_of_before_are_put_back(error):
    def mine(*_):
        raise AssertionError

    before = {number: signal.signal(number, mine) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) is not mine
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    finally:
        after = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert after == {signal.SIGINT: mine, signal.SIGTERM: mine}


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            send(signal.SIGINT)
            assert not interrupts.requested
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_it_does_no_harm_off_the_main_thread():
    seen = []

    def work():
        with Interrupts() as interrupts:
            seen.append(interrupts.requested)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before
