"""Exit statuses of the command, a closed set."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of the command; BROKEN is a worker's (`workers/threads/fatal.py`)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    IMAGES_FAILED = 3
    BROKEN = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141
