"""fakesweep beside its peers, in one run, on one machine: `python -m benchmarks`."""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import goals, live
from benchmarks.machine import cores, describe
from benchmarks.peers.running import PEERS
from benchmarks.race import QUICK_CONTENDERS, RACES, SWEEPS, Race, find_pythons, prepared, run
from benchmarks.rates import decode_rate, fetch_rate, help_seconds, matrix_gflops
from benchmarks.runs import Job, Result, table

MATRIX_SECONDS = 3.0
QUICK_MATRIX_SECONDS = 1.0
BUSY_LOAD = 0.5

LIVE = "live"
"""What is measured beside the races, by this name."""


def main() -> None:
    """Run the races, print a table for each, and write all of it as JSON where asked."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    machine = describe()
    _print_machine(machine)
    contenders = {race.name: _contenders(race, asked) for race in RACES}
    names = list(dict.fromkeys(name for some in contenders.values() for name in some))
    install = asked.with_peers or not asked.quick
    pythons, troubles = find_pythons(names, asked.folder, install=install)
    gflops = matrix_gflops(QUICK_MATRIX_SECONDS if asked.quick else MATRIX_SECONDS)
    help_takes = help_seconds()
    print(f"fakesweep --help {help_takes} s")
    print("torch.mm        ", *(f"{name} {rate} GFLOP/s" for name, rate in gflops.items()))
    results: list[Result] = []
    decode_rates: dict[str, float] = {}
    fetch_rates: dict[str, float] = {}
    for race in RACES:
        if not contenders[race.name]:
            continue
        images = asked.images or _images(race, asked)
        with prepared(race, images, asked.folder) as job:
            print(f"\n{race.name}: {race.about}; {job.images} images")
            decode_rates[race.name] = decode_rate(job.folder, job.checkpoint)
            print(f"bare decode and resize: {decode_rates[race.name]:.1f} images/s", flush=True)
            if race.from_s3:
                fetch_rates[race.name] = fetch_rate(job)
                print(f"bare fetch: {fetch_rates[race.name]:.1f} images/s", flush=True)
            found = _race(race, job, contenders[race.name], pythons, asked.repeats)
        found += [
            Result(race.name, name, "", (), troubles[name])
            for name in contenders[race.name]
            if name in troubles
        ]
        print(table(found, cores()), flush=True)
        results += found
    uploads = _live(asked)
    reached = goals.told(results, goals.machine_rates(gflops, decode_rates, fetch_rates))
    if reached:
        print("\nfakesweep beside its goals", *map(goals.line, reached), sep="\n")
    machine["load_average_at_end"] = describe()["load_average"]
    if asked.json:
        everything = {
            "machine": machine,
            "help_seconds": help_takes,
            "matrix_gflops": gflops,
            "bare_decode_images_per_second": decode_rates,
            "bare_fetch_images_per_second": fetch_rates,
            "results": list(map(_as_json, results)),
            "live": uploads and live.as_json(uploads),
            "goals": reached,
        }
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(everything, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="few images, one run, about three minutes")
    add("--repeats", type=int, help="runs of each contender (5; quick: 1)")
    add(
        "--only", nargs="+", metavar="NAME", default=[],
        choices=[race.name for race in RACES] + [LIVE, *SWEEPS, *PEERS],
        help="races (null, null-s3, tiny, vit-b), live and contenders; all where none is named",
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
    races = {LIVE, *(one.name for one in RACES)}
    named = set(asked.only)
    if named & races and race.name not in named:
        return []
    some = race.contenders
    if asked.quick and not asked.only:
        some = QUICK_CONTENDERS.get(race.name, some)
    return [name for name in some if not named - races or name in named]


def _live(asked: argparse.Namespace) -> list[live.Round]:
    """Measure how soon uploads have their rows, idle and beside a bulk scan."""
    if asked.only and LIVE not in asked.only:
        return []
    uploads, images = (60, 3_000) if asked.quick else (120, 6_000)
    plan = live.prepare("tiny", images, uploads, asked.folder)
    print(f"\n{LIVE}: {uploads} uploads, {live.PER_SECOND:g} a second, idle and beside a bulk scan")
    rounds: list[live.Round] = []
    for _ in range(asked.repeats):
        rounds.append(live.measure(plan, {}))
        print(f"  p95 {rounds[-1].ratio:.2f} x", flush=True)
    print(live.line(rounds), flush=True)
    return rounds


def _images(race: Race, asked: argparse.Namespace) -> int:
    return race.quick_images if asked.quick else race.images


def _race(
    race: Race, job: Job, contenders: Sequence[str], pythons: Mapping[str, str], repeats: int
) -> list[Result]:
    results: list[Result] = []
    able = [name for name in contenders if name in pythons or name in SWEEPS]
    for name, turns in run(job, able, repeats, pythons):
        results = turns.results(race.name)
        (one,) = (result for result in results if result.contender == name)
        said = one.trouble or f"{one.runs[-1].images_per_second:.1f} images/s"
        print(f"  {name}: {said}", flush=True)
    return results


def _print_machine(machine: Mapping[str, Any]) -> None:
    for name, value in machine.items():
        print(f"{name:16} {value}")
    if machine["load_average"][0] > BUSY_LOAD:
        print("this machine is busy with something else: these figures are worth little")


def _as_json(result: Result) -> dict[str, Any]:
    return {**asdict(result), "median_images_per_second": result.images_per_second}


if __name__ == "__main__":
    main()
