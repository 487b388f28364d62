import json
from pathlib import Path

from benchmarks import __main__ as command
from benchmarks.runs import Result, Run

RUN = Run(100, 100, 1.0, 4.0, 0.5, 300)


def test_what_was_measured_stands_in_the_file_before_the_rest_is(tmp_path: Path) -> None:
    report = command.Report(tmp_path / "new" / "bench.json", {"machine": {"cores": 2}})
    report.walls["null", "bare decode"] = [500.0]
    report.results.append(Result("null", "fakesweep", "PostgreSQL", (RUN,)))
    report.write()
    said = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert said["machine"] == {"cores": 2}
    assert said["results"][0]["median_images_per_second"] == 100.0
    assert said["walls"] == [{"race": "null", "name": "bare decode", "images_per_second": [500.0]}]
    report.results.append(Result("tiny", "fakesweep", "PostgreSQL", (RUN,)))
    report.write()
    assert len(json.loads((tmp_path / "new" / "bench.json").read_text())["results"]) == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.json"]
