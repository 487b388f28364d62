from contextlib import ExitStack

from fakesweep.schema.words import Lane
from fakesweep.workers.scoring.load_waiters import LoadWaiters


def test_of_live_batches_one_slot_never_waits_and_bulk_ones_take_none_of_them() -> None:
    waiters = LoadWaiters(4)
    with ExitStack() as opened:
        assert all(opened.enter_context(waiters.place(Lane.BULK)) for _ in range(9))
        places = [opened.enter_context(waiters.place(Lane.LIVE)) for _ in range(5)]
        assert places == [True, True, True, False, False]
    with waiters.place(Lane.LIVE) as may_wait:
        assert may_wait, "a waiter that is done makes room"


def test_a_batch_from_quarantine_never_waits() -> None:
    with LoadWaiters(4).place(Lane.QUARANTINE) as may_wait:
        assert not may_wait
