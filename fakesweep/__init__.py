"""The command `fakesweep`, the local stack, and the Python calls.

`import fakesweep` imports none of them: each call imports its modules at its first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakesweep.calls import results, scan
    from fakesweep.pictures import check
    from fakesweep.producer import submit

__all__ = ["check", "results", "scan", "submit"]

_HOMES = {
    "check": "fakesweep.pictures",
    "results": "fakesweep.calls",
    "scan": "fakesweep.calls",
    "submit": "fakesweep.producer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
