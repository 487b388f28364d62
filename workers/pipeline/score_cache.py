"""The scores this worker found lately: copies of a content may come before its rows are stored."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

KEPT = 20_000

ScoreKey = tuple[bytes, int]
"""SHA-256 of a content, and a model's row in the ledger."""

Scores = tuple[float, ...]


class ScoreCache:
    """The newest `kept` scores, by content and model; safe to use from many threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._scores: OrderedDict[ScoreKey, Scores] = OrderedDict()

    def remember(self, scores: Mapping[ScoreKey, Scores]) -> None:
        """Keep these scores, and forget the oldest ones beyond `kept`."""
        with self._lock:
            self._scores.update(scores)
            while len(self._scores) > self._kept:
                self._scores.popitem(last=False)

    def find(self, keys: Iterable[ScoreKey]) -> dict[ScoreKey, Scores]:
        """Return the scores of those among `keys` that are remembered."""
        with self._lock:
            return {key: self._scores[key] for key in keys if key in self._scores}
