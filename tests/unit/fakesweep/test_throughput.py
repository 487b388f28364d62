from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from fakesweep.schema.ledger.reports.workers import WorkerReport
from fakesweep.schema.telemetry.throughput import Bottleneck, Stage, StageReport, StageShare
from fakesweep.throughput import past_bottleneck, worker_line

SHARES = dict(
    zip(
        Stage,
        [
            StageShare(812.04, 0.012, 0.0),
            StageShare(812.04, 0.004, None),
            StageShare(812.04, 0.93, None),
            StageShare(640.0, 0.4, 0.114),
            StageShare(809.0, 0.05, None),
        ],
        strict=True,
    )
)
REPORT = StageReport(3.2, 812.04, Bottleneck.DECODE, SHARES)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKER = WorkerReport(
    UUID(int=1),
    "gpu-3",
    4_711,
    "cuda:0",
    "0.1.0",
    812.04,
    "decode",
    "decode",
    SHARES,
    NOON,
    NOON,
    NOON,
)
IN_WORDS = (
    "fetch 1% look_up 0% decode 93% device 40% store 5% busy, 812.0 images/s; "
    "chunks waited 0.00 s for a loader, 0.11 s for the device"
)


def test_the_end_of_a_scan_names_the_bottleneck() -> None:
    assert past_bottleneck(REPORT) == f"bottleneck: decode; {IN_WORDS}"
    waited = past_bottleneck(replace(REPORT, bottleneck=Bottleneck.QUEUE))
    assert waited.startswith("bottleneck: the queue (workers waited for work); fetch 1% ")


def test_a_stage_without_waits_names_none() -> None:
    never = {stage: replace(share, wait_seconds=None) for stage, share in SHARES.items()}
    assert past_bottleneck(replace(REPORT, stages=never)).endswith("busy, 812.0 images/s")


def test_a_worker_is_one_line_with_its_host_device_rate_and_bottleneck() -> None:
    assert worker_line(WORKER) == (
        f"gpu-3 (process 4711) on cuda:0, bottleneck: decode; {IN_WORDS}"
    )
    idle = worker_line(replace(WORKER, bottleneck="queue"))
    assert idle.startswith(
        "gpu-3 (process 4711) on cuda:0, bottleneck: the queue (no work waits); fetch 1% "
    )


def test_a_worker_without_measurements_is_shown_too() -> None:
    silent = replace(WORKER, bottleneck=None, stages=None, images_per_second=None, measured_at=None)
    assert worker_line(silent) == "gpu-3 (process 4711) on cuda:0: nothing measured yet"
