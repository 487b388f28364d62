"""Cost of a million images, from the price of a worker hour that the operator sets."""

from dataclasses import dataclass

from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import ScanState

SECONDS_AN_HOUR = 3_600
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """A scan's workers, and the cost of a million images; None while no image is judged.

    `currency` is the word after a price, or empty.
    """

    workers: int
    hour_price: float
    currency: str
    per_million: float | None

    def said(self) -> str | None:
        """Return the cost in one line, None while it is unknown."""
        if self.per_million is None:
            return None
        behind = f" {self.currency}" if self.currency else ""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return (
            f"{self.per_million:.2f}{behind} per million images "
            f"({workers} at {self.hour_price:.2f}{behind} an hour)"
        )


def cost_of(now: Progress, workers: int, settings: Settings) -> Cost | None:
    """Return the cost now, or over the whole of an ended scan; None without a price.

    Each worker counts in full, even if it serves other scans too. A partly pruned scan has no cost.
    """
    price = settings.worker_hour_price
    if price is None or now.pruned_at is not None:
        return None
    is_last = ScanState(now.state).is_last
    rate = now.images_per_second_overall if is_last else now.images_per_second
    per_million = None
    if rate > 0 and workers:
        per_million = MILLION * price * workers / (rate * SECONDS_AN_HOUR)
    return Cost(workers, price, settings.currency, per_million)
