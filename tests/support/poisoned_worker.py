"""Poisoned workers in sequence: images with certain names kill or stall them.

The exit code of each is written to standard output. They are forked, because a worker's imports
take seconds.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from fakesweep.schema.ledger.batches.outcomes import Outcome
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.settings import read_settings
from fakesweep.schema.words import Lane
from fakesweep.stack import processes
from fakesweep.workers.app import run_worker
from fakesweep.workers.models.load import LoadedModel
from fakesweep.workers.pipeline import batch
from fakesweep.workers.pipeline.resources import Work

POISON = "poison"
STALL = "stall"
COMPANY_SECONDS = 1.0
PR_SET_PDEATHSIG = 1

_judge_images = batch.judge_images
_start = LoadedModel.start
_is_stalled = threading.Event()


def judge_images(message: BatchMessage, claim: Any, work: Work) -> Iterator[Outcome]:
    """Kill or stall this worker, together with any other batches in it."""
    names = " ".join(image.uri.rpartition("/")[2] for image in message.images)
    is_alone = message.lane is Lane.QUARANTINE
    if POISON in names or STALL in names:
        processes.wait_for(lambda: is_alone or work.leases.held > 1, COMPANY_SECONDS)
        if POISON in names:
            os.kill(os.getpid(), signal.SIGKILL)
        _is_stalled.set()
    elif not is_alone:
        threading.Event().wait(COMPANY_SECONDS / 4)
    yield from _judge_images(message, claim, work)


def start(model: LoadedModel, inputs: Any) -> Any:
    """Start a call, or hang in it."""
    if _is_stalled.is_set():
        threading.Event().wait()
    return _start(model, inputs)


def supervise() -> None:
    """Start a worker, and restart it when it ends."""
    while True:
        worker = os.fork()
        if not worker:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            sys.exit(run_worker(read_settings()))
        _, status = os.waitpid(worker, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    batch.judge_images = judge_images
    LoadedModel.start = start  # type: ignore[method-assign, assignment]
    supervise()
