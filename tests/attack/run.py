"""One attack on a running API, observed by honest clients."""

import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.attack.honest import Noted, ask_honestly
from tests.support.api_server import Serving, make_token

CONNECTIONS = {"none": 0, "read-nothing": 300, "half-heads": 300, "slow-bodies": 250}
HONEST = 8


@dataclass(frozen=True)
class Survived:
    """Observations of honest clients during an attack, and the attackers' connections."""

    sort: str
    noted: Noted
    opened: int

    def line(self) -> str:
        """Return a line of text."""
        noted = self.noted
        p50, p99 = noted.within(0.5), noted.within(0.99)
        statuses = ", ".join(f"{said}: {times}" for said, times in sorted(noted.statuses.items()))
        return (
            f"{self.sort:13} p50 {p50:7.3f} s  p99 {p99:7.3f} s  max {max(noted.seconds):7.3f} s"
            f"  answers {statuses}  (attackers connected {self.opened} times)"
        )


def under_attack(serving: Serving, sort: str, seconds: float, share: float = 1.0) -> Survived:
    """Attack for some seconds with a share of the usual connections; return the observations."""
    honest = make_token(serving.engine, f"honest {sort}")
    hostile = make_token(serving.engine, f"hostile {sort}")
    connections = round(CONNECTIONS[sort] * share)
    words = [str(urlsplit(serving.api.url).port), sort, str(connections), str(seconds), hostile]
    if not connections:
        return Survived(sort, ask_honestly(serving.api.url, honest, HONEST, seconds), 0)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.attack.attackers", *words], stdout=subprocess.PIPE, text=True
    ) as attackers:
        noted = ask_honestly(serving.api.url, honest, HONEST, seconds)
        said, _ = attackers.communicate()
    return Survived(sort, noted, int(said))
