"""Watch of a run, once a second: the accounting identity, the window, the broker's memory."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import psycopg2

from tests.chaos.broker import Broker
from tests.chaos.ledger import Ledger

LOOK_SECONDS = 1.0

_WINDOW = """
    SELECT lane::text, count(*) FROM ledger.batches
    WHERE state IN ('published', 'running') GROUP BY lane
"""


@dataclass
class Watch:
    """Observations so far, and violations among them."""

    ledger: Ledger
    broker: Broker
    looks: int = 0
    blind: int = 0
    broken: list[str] = field(default_factory=list)
    shrunk: list[str] = field(default_factory=list)
    widest: Counter[str] = field(default_factory=Counter)
    broker_peak_bytes: int = 0
    _submitted: dict[int, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
                self.looks += 1
            except psycopg2.Error:
                self.blind += 1  # the ledger is away
            self.broker_peak_bytes = max(self.broker_peak_bytes, self.broker.peak_bytes() or 0)

    def _look(self) -> None:
        at = time.strftime("%H:%M:%S")
        for counted in self.ledger.sample():
            if not counted.adds_up:
                self.broken.append(f"{at} {counted}")
            before = self._submitted.get(counted.scan_id, 0)
            if counted.submitted < before:
                self.shrunk.append(f"{at} {counted}, before {before}")
            self._submitted[counted.scan_id] = counted.submitted
        for lane, count in self.ledger.ask(_WINDOW):
            self.widest[lane] = max(self.widest[lane], count)
