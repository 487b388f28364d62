"""Workers one after another, until this is killed; images with certain names take them down.

What ended each is written to standard output, as Python says it. They are forked, because an
interpreter with all that a worker imports takes seconds to start.
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
    """End or stall this worker, beside other batches where there are any."""
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
    """Start a call, or never come back from it."""
    if _is_stalled.is_set():
        threading.Event().wait()
    return _start(model, inputs)


def supervise() -> None:
    """Start a worker, and a new one whenever it has ended."""
    while True:
        worker = os.fork()
        if not worker:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            sys.exit(run_worker(read_settings()))
        _, status = os.waitpid(worker, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - for who started it


if __name__ == "__main__":
    batch.judge_images = judge_images
    LoadedModel.start = start  # type: ignore[method-assign, assignment]
    supervise()
