"""Workers' throughput as people see it: at the end of a scan, and in the status."""

import json
import socket

from fakesweep.schema.telemetry.throughput import Bottleneck, Stage
from tests.acceptance.command import Command
from tests.acceptance.conftest import Photographs


def test_status_names_each_workers_bottleneck(cluster: Command, photographs: Photographs) -> None:
    scan_id = cluster.scan(str(photographs(6)))["scan_id"]
    (worker,) = json.loads(cluster.ok("status", "--json"))["workers"]
    assert (worker["hostname"], worker["device"]) == (socket.gethostname(), "cpu")
    assert worker["images_per_second"] > 0
    assert worker["bottleneck"] in set(Bottleneck)
    assert worker["wall"] == worker["bottleneck"]
    assert list(worker["stages"]) == [stage.value for stage in Stage]
    for share in worker["stages"].values():
        assert 0 <= share["busy"] <= 1
    lines = [line for line in cluster.ok("status").splitlines() if line.startswith("worker ")]
    assert len(lines) == 1
    who = f"{worker['hostname']} (process {worker['pid']}) on cpu"
    assert f"{who}, bottleneck: " in lines[0]
    assert "worker " not in cluster.ok("status", str(scan_id)), "a finished scan needs no worker"
    detached = json.loads(cluster.ok("scan", "--detach", "--json", str(photographs(2, "more"))))
    assert " on cpu, bottleneck: " in cluster.ok("status", str(detached["scan_id"]))
    cluster.ok("resume", str(detached["scan_id"]))


def test_a_scan_in_json_has_its_bottleneck_and_stages(
    cluster: Command, photographs: Photographs
) -> None:
    said = cluster.scan(str(photographs(40)))
    assert said["bottleneck"] in set(Bottleneck)
    assert said["wall"] == said["bottleneck"]
    assert said["stages"]["fetch"]["images_per_second"] > 0
    assert 0 < said["stages"]["decode"]["busy"] <= 1
    again = json.loads(cluster.ok("resume", "--json", str(said["scan_id"])))
    assert "bottleneck" not in again, "nothing was done this time"
