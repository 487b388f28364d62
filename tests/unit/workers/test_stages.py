import structlog

from workers.stages import Stage, Stages


def test_the_report_counts_images_and_names_the_stage_with_most_batches_in_it() -> None:
    stages = Stages(lambda: 0.0)
    with structlog.testing.capture_logs() as lines, stages.running():
        for stage, images in ((Stage.FETCH, 30), (Stage.DECODE, 30)):
            with stages.timed(stage, images):
                sum(range(1_000 if stage is Stage.FETCH else 1_000_000))
    [line] = lines
    assert line["event"] == "stages"
    assert line["images_per_second"] > 0
    assert line["wall"] == "decode"
    assert set(line["batches"]) == {stage.value for stage in Stage}


def test_how_busy_the_device_was_is_reported_beside_the_stages() -> None:
    stages = Stages(lambda: 1_000.0)
    with (
        structlog.testing.capture_logs() as lines,
        stages.running(),
        stages.timed(Stage.DEVICE, 1),
    ):
        pass
    assert lines[0]["device_busy"] > 1
    assert lines[0]["wall"] == "device"


def test_an_idle_worker_writes_no_report() -> None:
    with structlog.testing.capture_logs() as lines, Stages(lambda: 0.0).running():
        pass
    assert lines == []
