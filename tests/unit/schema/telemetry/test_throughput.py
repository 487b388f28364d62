import json

import pytest

from fakesweep.schema.telemetry.throughput import (
    Bottleneck,
    Counts,
    Stage,
    StageCounts,
    added_up,
    bottleneck_of,
    counts_of,
    report,
    shares_of,
)

SECONDS = 10.0
LOADERS = 4
BATCHES = 2


def counts(
    *,
    fetch: float = 0.0,
    look_up: float = 0.0,
    decode: float = 0.0,
    device: float = 0.0,
    store: float = 0.0,
    waited: tuple[float, float] = (0.0, 0.0),
    images: int = 0,
) -> Counts:
    """Return counts of ten seconds by busy share; chunks waited for loaders and device."""
    shares = dict(zip(Stage, (fetch, look_up, decode, device, store), strict=True))
    places = dict.fromkeys(Stage, LOADERS) | {Stage.DEVICE: 1, Stage.STORE: BATCHES}
    waits = {Stage.FETCH: waited[0], Stage.DEVICE: waited[1]}
    return Counts(
        SECONDS,
        {
            stage: StageCounts(
                images,
                shares[stage] * places[stage] * SECONDS,
                places[stage] * SECONDS,
                20 if waits.get(stage) else 0,
                waits.get(stage, 0.0) * SECONDS,
            )
            for stage in Stage
        },
    )


@pytest.mark.parametrize(
    ("counted", "bottleneck"),
    [
        (counts(fetch=0.01, look_up=0.02, decode=0.93, device=0.4, store=0.05), Bottleneck.DECODE),
        (counts(fetch=0.5, look_up=0.1, decode=0.2, device=0.7, store=0.05), Bottleneck.FETCH),
        (counts(fetch=0.1, look_up=0.5, decode=0.2, device=0.7, store=0.05), Bottleneck.LOOK_UP),
        (counts(fetch=0.3, look_up=0.1, decode=0.4, device=0.85, store=0.1), Bottleneck.DEVICE),
        (counts(decode=0.3, device=0.2, store=0.55), Bottleneck.STORE),
    ],
)
def test_the_bottleneck_is_the_resource_used_most(counted: Counts, bottleneck: Bottleneck) -> None:
    assert bottleneck_of(counted) == bottleneck


def test_loaders_are_one_resource_whose_stages_add_up() -> None:
    counted = counts(fetch=0.2, look_up=0.15, decode=0.25, device=0.55)
    assert bottleneck_of(counted) == Bottleneck.DECODE


def test_a_worker_that_nothing_holds_up_waits_for_the_queue() -> None:
    assert bottleneck_of(counts()) == Bottleneck.QUEUE
    assert (
        bottleneck_of(counts(decode=0.49, device=0.49, store=0.49, waited=(0.5, 0.5)))
        == Bottleneck.QUEUE
    )
    assert bottleneck_of(counts(decode=0.51, device=0.49, store=0.49)) == Bottleneck.DECODE


def test_a_resource_that_chunks_wait_for_is_the_bottleneck_below_half_its_capacity() -> None:
    assert bottleneck_of(counts(decode=0.45, device=0.3, waited=(0.5, 2.0))) == Bottleneck.DEVICE
    assert (
        bottleneck_of(counts(fetch=0.4, decode=0.05, device=0.45, waited=(3.0, 2.0)))
        == Bottleneck.FETCH
    )
    assert bottleneck_of(counts(decode=0.6, device=0.3, waited=(0.0, 9.0))) == Bottleneck.DECODE


def test_every_stage_and_the_queue_can_be_the_bottleneck() -> None:
    assert {one.value for one in Bottleneck} == {stage.value for stage in Stage} | {"queue"}


def test_a_report_says_rates_busy_shares_and_waits() -> None:
    said = report(counts(decode=0.934, device=0.4, waited=(0.0, 0.5), images=8_120))
    assert (said.seconds, said.images_per_second, said.bottleneck) == (
        10.0,
        812.0,
        Bottleneck.DECODE,
    )
    assert said.stages[Stage.DECODE].busy == pytest.approx(0.934)
    assert said.stages[Stage.DECODE].images_per_second == 812.0
    assert said.stages[Stage.DEVICE].wait_seconds == 0.25
    assert said.stages[Stage.FETCH].wait_seconds is None


def test_a_call_of_the_device_that_began_before_does_not_make_it_busier_than_it_can_be() -> None:
    assert report(counts(device=1.7)).stages[Stage.DEVICE].busy == 1.0


def test_no_time_at_all_is_a_report_of_nothing() -> None:
    nothing = report(counts() - counts())
    assert (nothing.images_per_second, nothing.bottleneck) == (0.0, Bottleneck.QUEUE)
    assert not (counts() - counts()).shows_work


def test_the_difference_of_two_counts_is_what_went_on_between_them() -> None:
    first = counts(decode=0.5, images=100)
    busy = counts(decode=0.9, images=300)
    both = Counts(20.0, {stage: first.stages[stage] + busy.stages[stage] for stage in Stage})
    between = both - first
    assert between.seconds == pytest.approx(busy.seconds)
    assert between.shows_work
    assert between.stages[Stage.DECODE].busy == pytest.approx(0.9)
    assert between.stages[Stage.DECODE].images == 300


def test_workers_side_by_side_add_images_and_capacity_but_not_time() -> None:
    together = added_up([counts(decode=0.9, images=300), counts(decode=0.1, images=100)])
    assert together.seconds == SECONDS
    said = report(together)
    assert said.images_per_second == 40.0
    assert said.stages[Stage.DECODE].busy == 0.5
    assert not added_up([]).shows_work


def test_idle_time_before_is_left_out_of_the_capacity() -> None:
    short = counts(decode=0.2, images=100).within(2.5)
    assert short.seconds == 2.5
    assert report(short).stages[Stage.DECODE].busy == pytest.approx(0.8)
    assert report(short).images_per_second == 40.0
    assert counts(images=1).within(60.0) == counts(images=1)
    assert not report(counts(decode=0.2).within(-1.0)).stages[Stage.DECODE].busy
    assert not (counts() - counts()).within(-1.0).shows_work


def test_counts_and_reports_are_read_as_they_were_written() -> None:
    counted = counts(fetch=0.25, decode=0.5, waited=(1.0, 0.5), images=64)
    assert counts_of(json.loads(json.dumps(counted.as_json()))) == counted
    said = report(counted)
    written = json.loads(json.dumps(said.as_json()))
    assert shares_of(written["stages"]) == said.stages
    assert written["bottleneck"] == written["wall"] == "decode"
