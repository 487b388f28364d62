"""Where workers' time goes, in one line for people: busy shares, rate, waits and the wall."""

from collections.abc import Mapping

from fakesweep.schema.ledger.reports.workers import WorkerReport
from fakesweep.schema.telemetry.throughput import Bottleneck, Stage, StageReport, StageShare

AWAITED = {Stage.FETCH: "a loader", Stage.DEVICE: "the device"}


def past_bottleneck(report: StageReport) -> str:
    """Say which stage was the wall of a scan that has ended, and why."""
    stages = _in_words(report.stages, report.images_per_second)
    if report.wall == Bottleneck.QUEUE:
        return f"no stage was the wall: the workers waited for work, {stages}"
    return f"{report.wall} was the wall: {stages}"


def worker_line(worker: WorkerReport) -> str:
    """Say what a worker does now: its host, process, device, rate and wall."""
    who = f"{worker.hostname} (process {worker.pid}) on {worker.device}"
    if worker.wall is None or worker.stages is None or worker.images_per_second is None:
        return f"{who}: nothing is known of its work yet"
    stages = _in_words(worker.stages, worker.images_per_second)
    return f"{who}: {_named(worker.wall)} is the wall: {stages}"


def _in_words(stages: Mapping[Stage, StageShare], images_per_second: float) -> str:
    busy = " ".join(f"{stage.value} {share.busy:.0%}" for stage, share in stages.items())
    waited = [
        f"{stages[stage].wait_seconds:.2f} s for {what}"
        for stage, what in AWAITED.items()
        if stages[stage].wait_seconds is not None
    ]
    waits = f"; chunks waited {', '.join(waited)}" if waited else ""
    return f"{busy} busy, {images_per_second:.1f} images/s{waits}"


def _named(wall: str) -> str:
    return "the queue" if wall == Bottleneck.QUEUE else wall
