from dataclasses import replace

import pytest

from fakesweep.costs import Cost, cost_of
from fakesweep.schema.settings import Settings
from fakesweep.summary import Summary, as_page
from tests.unit.fakesweep.foreground.test_progress import BEGUN, RUNNING

PRICED = Settings(worker_hour_price=1.20, currency="EUR")
MOVING = replace(RUNNING, images_per_second=100.0)


def test_no_cost_is_told_where_no_price_is_set() -> None:
    assert cost_of(MOVING, 3, Settings()) is None


def test_a_million_images_cost_the_hours_of_all_workers_that_they_take() -> None:
    cost = cost_of(MOVING, 3, PRICED)
    assert cost is not None
    hours = 1_000_000 / 100.0 / 3_600
    assert cost.per_million == pytest.approx(hours * 3 * 1.20)
    assert cost.said() == "10.00 EUR per million images (3 workers at 1.20 EUR an hour)"


def test_a_scan_that_has_ended_tells_what_it_cost_on_the_whole() -> None:
    finished = replace(MOVING, state="finished", finished_at=MOVING.at)
    cost = cost_of(finished, 1, PRICED)
    assert cost is not None
    assert cost.per_million == pytest.approx(1_000_000 / 12.0 / 3_600 * 1.20)


def test_no_cost_is_told_of_a_scan_that_is_partly_forgotten() -> None:
    pruned = replace(MOVING, state="finished", finished_at=MOVING.at, pruned_at=MOVING.at)
    assert cost_of(pruned, 1, PRICED) is None
    lines = as_page(Summary(pruned, (), {}, {})).splitlines()
    assert lines[-1] == "pruned     2026-11-20 12:00:10 UTC; the counts are of the remaining images"
    assert not [line for line in lines if line.startswith("rate")]


@pytest.mark.parametrize(("rate", "workers"), [(0.0, 3), (100.0, 0)])
def test_a_cost_is_not_told_while_nothing_moves(rate: float, workers: int) -> None:
    still = replace(RUNNING, images_per_second=rate, created_at=BEGUN)
    cost = cost_of(still, workers, PRICED)
    assert cost is not None
    assert (cost.per_million, cost.said()) == (None, None)


def test_a_currency_is_only_a_word() -> None:
    assert Cost(1, 0.5, "", 2.0).said() == "2.00 per million images (1 worker at 0.50 an hour)"
