"""The first signal is remembered, the second ends the process, and the workers of a run heed neither."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from nerd_fast.segmentation.base.signals import SIGNALS, Signals, ignore_signals
from tests.segmentation.runs_for_tests import in_child


@pytest.fixture
def restored():
    """The handlers of before the test, after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_thread_that_may_not_listen_goes_on_without():
    def enter():
        with Signals() as signals:
            signals.listen()
            return signals.received

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(enter).result() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_the_handlers_of_before_come_back(number):
    before = signal.getsignal(number)
    signals = Signals()
    with signals:
        signals.listen()
        os.kill(os.getpid(), number)
        assert signals.received == number
    assert signal.getsignal(number) is before


def interrupted_twice():
    signals = Signals()
    signals.listen()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return 0


def test_the_second_signal_ends_the_process_at_once():
    _, status = os.waitpid(in_child(interrupted_twice), 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_worker_ignores_the_signals_of_its_group(restored):
    ignore_signals(worker=0)
    for number in SIGNALS:
        os.kill(os.getpid(), number)
