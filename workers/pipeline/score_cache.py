"""Score cache: recent scores of this worker, for copies that precede the stored rows."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

KEPT = 20_000

ScoreKey = tuple[bytes, int]
"""SHA-256 of a content, and a model's ledger id."""

Scores = tuple[float, ...]


class ScoreCache:
    """The newest `kept` scores by content and model; thread-safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._scores: OrderedDict[ScoreKey, Scores] = OrderedDict()

    def remember(self, scores: Mapping[ScoreKey, Scores]) -> None:
        """Add scores and evict the oldest beyond `kept`."""
        with self._lock:
            self._scores.update(scores)
            while len(self._scores) > self._kept:
                self._scores.popitem(last=False)

    def find(self, keys: Iterable[ScoreKey]) -> dict[ScoreKey, Scores]:
        """Return the cached scores among `keys`."""
        with self._lock:
            return {key: self._scores[key] for key in keys if key in self._scores}
