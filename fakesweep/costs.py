"""What a million images cost, at the price that the operator says an hour of a worker has."""

from dataclasses import dataclass

from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import ScanState

SECONDS_AN_HOUR = 3_600
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """A scan's workers, and what a million images cost by them; None where nothing moves.

    `currency` is the word behind a price, if there is one.
    """

    workers: int
    hour_price: float
    currency: str
    per_million: float | None

    def said(self) -> str | None:
        """Return it for people, None where it cannot be told."""
        if self.per_million is None:
            return None
        behind = f" {self.currency}" if self.currency else ""
        crew = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return (
            f"{self.per_million:.2f}{behind} per million images "
            f"({crew} at {self.hour_price:.2f}{behind} an hour)"
        )


def cost_of(now: Progress, workers: int, settings: Settings) -> Cost | None:
    """Return what a million images cost now, or came to on the whole; None where no price is set.

    Every worker counts in full, though it may work for other scans besides. Of a scan that is
    partly forgotten nothing can be told.
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
