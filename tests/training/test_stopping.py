import os
import signal
import threading

import pytest

from rheobase.training.stopping import Interrupted, listening


@pytest.fixture(autouse=True)
def _signals_as_at_a_terminal():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_and_has_its_conventional_exit_code(number, code):
    with listening() as stop:
        assert stop.requested is None
        send(number)
        assert stop.requested == number
    stopped = Interrupted(stop.requested)
    assert (stopped.signal, stopped.exit_code) == (number, code)
    assert number.name in str(stopped)


def test_the_first_signal_is_the_one_that_counts():
    with listening() as stop:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        assert stop.requested == signal.SIGINT


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_further_interrupt_stops_at_once(first):
    with listening():
        send(first)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_the_handlers_from_before_are_back_afterwards_also_after_an_error():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def work():
        with listening() as stop:
            assert all(signal.getsignal(number) is stop for number in before)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        work()
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job of a shell, or under nohup
    with listening() as stop:
        send(signal.SIGINT)
        assert stop.requested is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_outside_of_the_main_thread_nothing_is_changed():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with listening() as stop:
            seen.extend([stop.requested, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, before]
