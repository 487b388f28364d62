"""Digest runs of a listing: independent of page limits, and different for different facts."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fakesweep.schema.ledger.scans.audit_digests import (
    RUN_IMAGES,
    digests_of,
    ends_run,
    one_run,
    whole_runs,
)
from fakesweep.schema.ledger.scans.scans import ListedImage

WHEN = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)


def listed(*numbers: int) -> list[ListedImage]:
    return [ListedImage(f"s3://photos/{n:06}.jpg", str(n), n, f"e{n}", WHEN) for n in numbers]


def digests(images: Sequence[ListedImage]) -> list[bytes]:
    return [run.digest for run in digests_of(images)]


def test_runs_follow_each_other_and_hold_every_image() -> None:
    images = listed(*range(20_000))
    runs = digests_of(images)
    assert runs[0].first == 0
    assert runs[-1].end == len(images)
    assert all(one.end == other.first for one, other in itertools.pairwise(runs))
    assert all(ends_run(images[run.end - 1].uri) for run in runs[:-1])
    assert len(images) / RUN_IMAGES / 2 < len(runs) < len(images) / RUN_IMAGES * 2
    assert len(set(digests(images))) == len(runs)


@given(some.sets(some.integers(0, 3_000), max_size=5))
def test_an_added_or_removed_image_changes_its_own_runs_alone(touched: set[int]) -> None:
    before = listed(*range(1_000, 2_000))
    after = listed(*sorted(set(range(1_000, 2_000)) ^ touched))
    other = set(digests(before)) ^ set(digests(after))
    assert len(other) <= 4 * len(touched)


@pytest.mark.parametrize("cut", [1, 130, 700, 999])
def test_pages_cut_at_whole_runs_have_the_runs_of_the_whole(cut: int) -> None:
    images = listed(*range(1_000))
    count = whole_runs(images[:cut])
    assert count <= cut
    assert count == 0 or ends_run(images[count - 1].uri)
    assert not any(ends_run(image.uri) for image in images[count:cut])
    assert digests(images[:count]) + digests(images[count:]) == digests(images)


@pytest.mark.parametrize(
    "other",
    [{"size_bytes": 8}, {"etag": "e8"}, {"etag": None}, {"modified_at": None},
     {"modified_at": WHEN + timedelta(milliseconds=1)}, {"uri": "s3://photos/other.jpg"}],
    ids=str,
)  # fmt: skip
def test_a_run_has_another_digest_where_a_fact_of_an_image_is_another(
    other: dict[str, object],
) -> None:
    [image] = listed(7)
    assert digests([image._replace(**other)]) != digests([image])  # type: ignore[arg-type]


def test_the_same_time_in_another_zone_is_the_same() -> None:
    [image] = listed(7)
    moved = image._replace(modified_at=datetime.fromisoformat("2026-02-03T06:05:06.789+02:00"))
    assert digests([moved]) == digests([image])


def test_a_run_with_an_image_of_unknown_size_is_not_known_again_and_its_neighbours_are() -> None:
    images = listed(*range(2_000))
    runs = digests_of(images)
    images[runs[3].first] = images[runs[3].first]._replace(size_bytes=None)
    vague = digests_of(images)
    assert vague[3].digest == b""
    assert vague[:3] + vague[4:] == runs[:3] + runs[4:]


def test_nothing_is_no_run_and_one_run_has_no_digest() -> None:
    assert digests_of([]) == []
    assert [run.digest for run in one_run(listed(1, 2))] == [b""]
