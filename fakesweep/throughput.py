"""Workers' throughput in one line: bottleneck, busy shares, rate and waits."""

from collections.abc import Mapping

from fakesweep.schema.ledger.reports.workers import WorkerReport
from fakesweep.schema.telemetry.throughput import Bottleneck, Stage, StageReport, StageShare

AWAITED = {Stage.FETCH: "a loader", Stage.DEVICE: "the device"}


def past_bottleneck(report: StageReport) -> str:
    """Return the bottleneck of a scan that has ended, with its stages."""
    named = "the queue (workers waited for work)"
    bottleneck = named if report.bottleneck == Bottleneck.QUEUE else report.bottleneck
    return f"bottleneck: {bottleneck}; {_in_words(report.stages, report.images_per_second)}"


def worker_line(worker: WorkerReport) -> str:
    """Return a live worker in one line: host, process, device, bottleneck, stages and rate."""
    who = f"{worker.hostname} (process {worker.pid}) on {worker.device}"
    if worker.bottleneck is None or worker.stages is None or worker.images_per_second is None:
        return f"{who}: nothing measured yet"
    bottleneck = (
        "the queue (no work waits)" if worker.bottleneck == Bottleneck.QUEUE else worker.bottleneck
    )
    stages = _in_words(worker.stages, worker.images_per_second)
    return f"{who}, bottleneck: {bottleneck}; {stages}"


def _in_words(stages: Mapping[Stage, StageShare], images_per_second: float) -> str:
    busy = " ".join(f"{stage.value} {share.busy:.0%}" for stage, share in stages.items())
    waited = [
        f"{stages[stage].wait_seconds:.2f} s for {what}"
        for stage, what in AWAITED.items()
        if stages[stage].wait_seconds is not None
    ]
    waits = f"; chunks waited {', '.join(waited)}" if waited else ""
    return f"{busy} busy, {images_per_second:.1f} images/s{waits}"
