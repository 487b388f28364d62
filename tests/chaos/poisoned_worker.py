"""`fakesweep` with poison: a marked content kills its worker."""

import os
import sys
from collections.abc import Iterable
from signal import SIGKILL

from fakesweep.cli import main
from fakesweep.schema.ledger.batches.outcomes import KnownScore
from fakesweep.workers.pipeline import chunk
from fakesweep.workers.pipeline.chunk import Models
from fakesweep.workers.pipeline.resources import Work
from fakesweep.workers.pipeline.score_cache import ScoreKey

_MARKED = {bytes.fromhex(digest) for digest in os.environ["CHAOS_POISON"].split(",")}
_look_up = chunk.look_up


def look_up(digests: Iterable[bytes], models: Models, work: Work) -> dict[ScoreKey, KnownScore]:
    """Kill the process at a marked content."""
    known = list(digests)
    if not _MARKED.isdisjoint(known):
        os.kill(os.getpid(), SIGKILL)
    return _look_up(known, models, work)


if __name__ == "__main__":
    chunk.look_up = look_up
    sys.exit(main())
