import os
import signal

import pytest

from fakesweep.foreground.signals import SIGNALS, told_to_stop


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    with told_to_stop() as told:
        assert not told.is_set()
        os.kill(os.getpid(), number)
        assert told.is_set()


def test_a_second_signal_interrupts() -> None:
    with told_to_stop():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_former_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with told_to_stop():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
