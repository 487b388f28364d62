"""Honest clients: each submits an image, requests it, and records the answer times."""

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

Asking = Callable[[], httpx.Response]

PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 30.0


@dataclass
class Noted:
    """Observations of honest clients: seconds of each answer, and counts by outcome."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def within(self, share: float) -> float:
        """Return the answer time in seconds at a quantile, `share`."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def ask_honestly(url: str, token: str, clients: int, seconds: float) -> Noted:
    """Run concurrent clients: half keep their connection, half open one for each request."""
    noted, lock, until = Noted(), threading.Lock(), time.monotonic() + seconds

    def run(number: int) -> None:
        for turn in itertools.count():
            with httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT_SECONDS,
            ) as client:
                while time.monotonic() < until:
                    _hand_in_and_ask(client, f"s3://honest/{number}/{turn}.jpg", noted, lock)
                    time.sleep(PAUSE_SECONDS)
                    if number % 2:
                        break
                else:
                    return

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return noted


def _hand_in_and_ask(client: httpx.Client, uri: str, noted: Noted, lock: threading.Lock) -> None:
    answer = _asked(lambda: client.post("/v1/images", json={"uri": uri}), noted, lock)
    if answer is not None and answer.status_code == httpx.codes.ACCEPTED:
        href = answer.json()["images"][0]["href"]
        _asked(lambda: client.get(href), noted, lock)


def _asked(asking: Asking, noted: Noted, lock: threading.Lock) -> httpx.Response | None:
    began = time.perf_counter()
    answer: httpx.Response | None = None
    try:
        answer = asking()
        said = str(answer.status_code)
    except httpx.TransportError as error:
        said = type(error).__name__
    with lock:
        noted.seconds.append(time.perf_counter() - began)
        noted.statuses[said] += 1
    return answer
