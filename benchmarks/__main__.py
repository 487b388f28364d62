"""Races of fakesweep and its peers on one machine: `python -m benchmarks`."""

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import goals, live, startup
from benchmarks.machine import cores, describe
from benchmarks.peers.running import PEERS
from benchmarks.race import (
    QUICK_CONTENDERS,
    RACES,
    SWEEPS,
    Race,
    Turns,
    find_pythons,
    prepared,
    run,
)
from benchmarks.runs import Job, Result, table

BUSY_LOAD = 0.5

LIVE, STARTUP = "live", "startup"
"""Names of the measurements beside the races."""


@dataclass
class Report:
    """Results so far, written to the file after each measurement."""

    file: Path | None
    said: dict[str, Any]
    results: list[Result] = field(default_factory=list)
    walls: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    goals: list[dict[str, object]] = field(default_factory=list)

    def write(self) -> None:
        """Rewrite the requested file."""
        if self.file is None:
            return
        everything = self.said | {
            "walls": [
                {"race": race, "name": name, "images_per_second": rates}
                for (race, name), rates in self.walls.items()
            ],
            "results": list(map(_as_json, self.results)),
            "goals": self.goals,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_name(f"{self.file.name}.unfinished")
        unfinished.write_text(json.dumps(everything, indent=2) + "\n")
        unfinished.replace(self.file)


def main() -> None:
    """Run the races, print a table for each, and write the results as JSON on request."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, and so stops the servers
    machine = describe()
    _print_machine(machine)
    contenders = {race.name: _contenders(race, asked) for race in RACES}
    names = list(dict.fromkeys(name for some in contenders.values() for name in some))
    install = asked.with_peers or not asked.quick
    pythons, troubles = find_pythons(names, asked.folder, install=install)
    report = Report(asked.json, {"machine": machine, STARTUP: _startup(asked)})
    for race in RACES:
        if contenders[race.name]:
            _run_race(
                race, contenders[race.name], report, asked, pythons=pythons, troubles=troubles
            )
            report.write()
    report.said["live"] = _live(asked)
    machine["load_average_at_end"] = describe()["load_average"]
    report.write()
    if report.goals:
        print("\nfakesweep beside its goals", *map(goals.line, report.goals), sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="few images, one run, about three minutes")
    add("--repeats", type=int, help="runs of each contender (5; quick: 1)")
    add(
        "--only", nargs="+", metavar="NAME", default=[],
        choices=[race.name for race in RACES] + [LIVE, STARTUP, *SWEEPS, *PEERS],
        help="races (null, null-s3, tiny, vit-b), live, startup, contenders; all without it",
    )  # fmt: skip
    add("--images", type=int, help="photographs in each race")
    add("--json", type=Path, metavar="FILE", help="write what was measured to this file, too")
    add(
        "--folder", type=Path, default=Path("~/.cache/fakesweep-bench"),
        help="where photographs, checkpoints and the peers' environments are kept",
    )  # fmt: skip
    add("--with-peers", action="store_true", help="install Ray and Daft for the quick form, too")
    asked = parser.parse_args()
    asked.folder = asked.folder.expanduser().resolve()
    asked.repeats = asked.repeats or (1 if asked.quick else 5)
    return asked


def _contenders(race: Race, asked: argparse.Namespace) -> list[str]:
    races = {LIVE, STARTUP, *(one.name for one in RACES)}
    named = set(asked.only)
    if named & races and race.name not in named:
        return []
    some = race.contenders
    if asked.quick and not asked.only:
        some = QUICK_CONTENDERS.get(race.name, some)
    return [name for name in some if not named - races or name in named]


def _live(asked: argparse.Namespace) -> dict[str, object] | None:
    """Measure the latency of uploads, idle and during a bulk scan."""
    if asked.only and LIVE not in asked.only:
        return None
    uploads, images = (60, 3_000) if asked.quick else (120, 6_000)
    print(f"\n{LIVE}: {uploads} uploads, {live.PER_SECOND:g} a second, idle and beside a bulk scan")
    done: list[live.Round] = []
    try:
        plan = live.prepare("tiny", images, uploads, asked.folder)
        for one in live.rounds(plan, asked.folder, asked.repeats):
            done.append(one)
            print(f"  p95 {one.ratio:.2f} x", flush=True)
    except (RuntimeError, OSError) as error:
        print(f"{LIVE}: broken off: {error}", flush=True)
        return {"trouble": str(error), **(live.as_json(done) if done else {})}
    print(live.line(done), flush=True)
    return live.as_json(done)


def _startup(asked: argparse.Namespace) -> dict[str, object] | None:
    """Measure start times, alternating with plain imports of torch and transformers."""
    if asked.only and STARTUP not in asked.only:
        return None
    try:
        found = startup.measure(asked.folder, 3 if asked.quick else 7)
    except (RuntimeError, OSError) as error:
        print(f"{STARTUP}: broken off: {error}", flush=True)
        return {"trouble": str(error)}
    print(f"\n{STARTUP}", *startup.lines(found), sep="\n", flush=True)
    return startup.as_json(found)


def _images(race: Race, asked: argparse.Namespace) -> int:
    return race.quick_images if asked.quick else race.images


def _run_race(
    race: Race,
    contenders: Sequence[str],
    report: Report,
    asked: argparse.Namespace,
    *,
    pythons: Mapping[str, str],
    troubles: Mapping[str, str],
) -> None:
    """Run one race, add its results to the report, and print them."""
    with prepared(race, asked.images or _images(race, asked), asked.folder) as job:
        print(f"\n{race.name}: {race.about}; {job.images} images", flush=True)
        able = [name for name in contenders if name in pythons or name in SWEEPS]
        turns = _turns(race, job, able, pythons, asked.repeats)
    found = turns.results(race.name)
    found += [
        Result(race.name, name, "", (), troubles[name]) for name in contenders if name in troubles
    ]
    for name, rates in turns.walls.items():
        print(f"{name}: {statistics.median(rates):.1f} images/s ({_spread(rates)})")
        report.walls[race.name, name] = rates
    print(table(found, cores()), flush=True)
    reached = goals.told(found, report.walls)
    print(*map(goals.line, reached), sep="\n", flush=True)
    report.results += found
    report.goals += reached


def _turns(
    race: Race, job: Job, able: Sequence[str], pythons: Mapping[str, str], repeats: int
) -> Turns:
    turns = Turns()
    for name, turns in run(race, job, able, repeats, pythons):
        if name in turns.walls:
            rate = turns.walls[name][-1]
        elif name in turns.troubles:
            print(f"  {name}: {turns.troubles[name]}", flush=True)
            continue
        else:
            rate = turns.runs[name][-1].images_per_second
        print(f"  {name}: {rate:.1f} images/s", flush=True)
    return turns


def _spread(rates: Sequence[float]) -> str:
    return f"{min(rates):.1f} to {max(rates):.1f}"


def _print_machine(machine: Mapping[str, Any]) -> None:
    for name, value in machine.items():
        print(f"{name:16} {value}")
    if machine["load_average"][0] > BUSY_LOAD:
        print("this machine is busy with something else: these figures are worth little")


def _as_json(result: Result) -> dict[str, Any]:
    return {**asdict(result), "median_images_per_second": result.images_per_second}


if __name__ == "__main__":
    main()
