"""Signals as flags: which are noted when, and what is put back."""

import signal

import pytest

from training.interrupts import Interrupts
from training.loop import Stop, TrainOptions, why_stop

INT, TERM = signal.SIGINT, signal.SIGTERM


def test_sigterm_is_noted_from_the_beginning_and_sigint_once_there_are_steps():
    before = [signal.getsignal(number) for number in (INT, TERM)]
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(INT)
        assert not interrupts.received
        signal.raise_signal(TERM)
        assert interrupts.received == TERM
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGXCPU)
        assert why_stop(TrainOptions(), interrupts, 0.0) == Stop.TIME
    signal.raise_signal(signal.SIGXCPU)  # as it comes every second; what is left is done
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    with Interrupts() as interrupts:
        interrupts.finish_steps()
        signal.raise_signal(INT)
        assert interrupts.received == INT
        with pytest.raises(KeyboardInterrupt):  # the second
            signal.raise_signal(INT)
    assert [signal.getsignal(number) for number in (INT, TERM)] == before


def test_what_can_be_left_off_ends_at_once():
    with Interrupts() as interrupts:
        interrupts.finish_steps()
        with interrupts.at_once():
            signal.raise_signal(INT)
            raise AssertionError("went on")
        assert interrupts.received == INT
        with pytest.raises(ValueError, match="a fault"), interrupts.at_once():
            raise ValueError("a fault")
        assert signal.getsignal(INT) == interrupts._note


def test_what_is_not_saved_is_finished_first():
    with Interrupts() as interrupts:
        interrupts.finish_steps()
        with interrupts.at_once(saved=False):
            signal.raise_signal(INT)
        assert interrupts.received == INT


def test_several_processes_note_every_signal_and_stop_together():
    with Interrupts(alone=False) as interrupts:
        with interrupts.at_once():
            signal.raise_signal(INT)
        assert interrupts.received == INT
