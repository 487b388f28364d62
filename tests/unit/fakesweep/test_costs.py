from dataclasses import replace

import pytest

from fakesweep.costs import Cost, cost_of
from fakesweep.schema.settings import Settings
from fakesweep.summary import Summary, as_page
from tests.unit.fakesweep.foreground.test_progress import BEGUN, RUNNING

PRICED = Settings(worker_hour_price=1.20, currency="EUR")
MOVING = replace(RUNNING, images_per_second=100.0)


def test_without_a_price_there_is_no_cost() -> None:
    assert cost_of(MOVING, 3, Settings()) is None


def test_a_million_images_cost_the_hours_of_all_workers() -> None:
    cost = cost_of(MOVING, 3, PRICED)
    assert cost is not None
    hours = 1_000_000 / 100.0 / 3_600
    assert cost.per_million == pytest.approx(hours * 3 * 1.20)
    assert cost.said() == "10.00 EUR per million images (3 workers at 1.20 EUR an hour)"


def test_an_ended_scan_has_its_overall_cost() -> None:
    finished = replace(MOVING, state="finished", finished_at=MOVING.at)
    cost = cost_of(finished, 1, PRICED)
    assert cost is not None
    assert cost.per_million == pytest.approx(1_000_000 / 12.0 / 3_600 * 1.20)


def test_a_partly_pruned_scan_has_no_cost() -> None:
    pruned = replace(MOVING, state="finished", finished_at=MOVING.at, pruned_at=MOVING.at)
    assert cost_of(pruned, 1, PRICED) is None
    lines = as_page(Summary(pruned, (), {}, {})).splitlines()
    assert lines[-1] == "pruned     2026-11-20 12:00:10 UTC; the counts are of the remaining images"
    assert not [line for line in lines if line.startswith("rate")]


@pytest.mark.parametrize(("rate", "workers"), [(0.0, 3), (100.0, 0)])
def test_a_scan_that_does_not_move_has_no_cost(rate: float, workers: int) -> None:
    still = replace(RUNNING, images_per_second=rate, created_at=BEGUN)
    cost = cost_of(still, workers, PRICED)
    assert cost is not None
    assert (cost.per_million, cost.said()) == (None, None)


def test_a_currency_is_only_a_word() -> None:
    assert Cost(1, 0.5, "", 2.0).said() == "2.00 per million images (1 worker at 0.50 an hour)"
