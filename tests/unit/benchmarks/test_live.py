from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import live

ROUND = live.Round([0.1] * 20, [0.2] * 20, 500.0)


@pytest.fixture
def plan(tmp_path: Path) -> live.Plan:
    return live.Plan(tmp_path, tmp_path / "3000", [])


def _lasts_from(images: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let bulk scans of `images` and more last; return the folders that were measured."""
    tried: list[str] = []

    def measure(plan: live.Plan, _: Mapping[str, str]) -> live.Round:
        tried.append(plan.bulk.name)
        if int(plan.bulk.name) < images:
            raise live.BulkTooShortError(2 * int(plan.bulk.name))
        return ROUND

    monkeypatch.setattr(live, "measure", measure)
    monkeypatch.setattr(live, "_bulk_of", lambda images, folder: folder / str(images))
    return tried


def test_a_bulk_scan_that_ends_before_the_uploads_is_made_longer_for_all_rounds(
    plan: live.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = _lasts_from(10_000, monkeypatch)
    assert list(live.rounds(plan, tmp_path, 2)) == [ROUND, ROUND]
    assert tried == ["3000", "6000", "12000", "12000"]


def test_a_machine_too_quick_for_any_bulk_scan_is_said_in_one_line(
    plan: live.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lasts_from(10**9, monkeypatch)
    with pytest.raises(RuntimeError, match="ended before the uploads did; 96000 images would last"):
        list(live.rounds(plan, tmp_path, 1))


def test_how_long_a_bulk_scan_has_to_be_follows_from_its_rate() -> None:
    assert live._images_that_last(3_000, 100.0, 20.0) == 5_000
    assert live._images_that_last(3_000, 900.0, 20.0) == 28_000
