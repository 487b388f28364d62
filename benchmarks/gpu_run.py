"""Parts of the GPU benchmark, in sequence."""

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_bench import Bench, describe
from benchmarks.gpu_decode import SHORTEST_SHARE, SIDE, decode_rates
from benchmarks.gpu_engine import engine_rate, matrix_tflops, network_rates
from benchmarks.gpu_models import SHAPES
from benchmarks.gpu_pipeline import IMAGES_PER_SIZE, pipeline_rates
from benchmarks.gpu_rows import Measured, table
from benchmarks.gpu_sweep import (
    UNUSED_BROKER,
    Worker,
    measured,
    open_with_database,
    open_with_file,
)
from benchmarks.machine import cores
from fakesweep.schema.settings import Settings
from fakesweep.schema.telemetry.logs import set_up_logging
from fakesweep.workers.models.place import resolve_place
from fakesweep.workers.models.processor import load_processor, plain_steps
from fakesweep.workers.sandbox.preprocess import Preprocessing

LARGE_SIDE = 2_048
"""Longer side of phones' pictures in pixels, where `fast` decoding matters."""

PIPELINE_SIZES = (1, 64)
OPENING_MINUTES = 2.0
"""Approximate time to load and compile a model on a GPU."""

_DECODED_PER_CORE = 640
_LARGE_DECODED_PER_CORE = 16


def run(asked: argparse.Namespace, folder: Path) -> None:
    """Measure the requested parts with files below a folder, and print the results.

    Raises:
        FakesweepError: the device does not exist.
    """
    for name in ("DATABASE_URL", "BROKER_URL"):  # a sweep empties the tables
        os.environ.pop(f"FAKESWEEP_{name}", None)
    settings = Settings(
        home=folder / "stack", broker_url=UNUSED_BROKER, device=asked.device,
        batches_in_flight=max(asked.in_flight), log_level="warning", file_roots=(folder,),
    )  # fmt: skip
    set_up_logging(settings)
    place = resolve_place(asked.device, settings.precision)
    bench = Bench(asked, folder, place, settings, machine=describe(place))
    for name, fact in bench.machine.items():
        print(f"{name:14} {fact}")
    bench.say(f"models: {', '.join(f'{n} {SHAPES[n].gflop:.1f} GFLOP' for n in asked.models)}")
    if bench.wants("matrix", "matrix"):
        bench.matrix = matrix_tflops(place, asked.seconds)
        bench.say(f"torch.mm: {statistics.median(bench.matrix):.4g} TFLOP/s")
    bench.say(f"making {asked.images} pictures and {len(asked.models)} checkpoints")
    bench.pictures(asked.images)
    for model in asked.models:
        bench.checkpoint(model)
    decode(bench)
    with ExitStack() as resources:
        if "sweep" in asked.only:
            start_database(bench, resources)
        for model in asked.models:
            work(bench, model)
    for model in asked.models:
        pipelines(bench, model)
    bench.write()
    print(f"\n{table(bench.rows, cores())}")
    for why in bench.left_out:
        print(f"left out: {why}")
    bench.say("done")


def start_database(bench: Bench, resources: ExitStack) -> None:
    """Start PostgreSQL as the local stack does; if it fails, sweeps write to a file."""
    try:
        from fakesweep.stack import start_stack, stop_stack  # noqa: PLC0415 - may be missing

        resources.callback(stop_stack, bench.settings)
        bench.settings = start_stack(bench.settings)
    except Exception as error:  # noqa: BLE001 - the machine may lack anything
        bench.say(f"no PostgreSQL, so sweeps go into a file: {type(error).__name__}: {error}")


def decode(bench: Bench) -> None:
    """Measure the decoding rate of bare processes, for each model's preprocessing."""
    sides = {SIDE: _DECODED_PER_CORE, LARGE_SIDE: _LARGE_DECODED_PER_CORE}
    for model in bench.asked.models:
        if not bench.wants("decode", f"{model} decode"):
            return
        with bench.trying(f"{model} decode"):
            steps = plain_steps(model, load_processor(model, bench.checkpoint(model)))
            if steps is None:
                raise RuntimeError("its preprocessing cannot be written as plain steps")
            for side, per_core in sides.items():
                if side == SIDE or not bench.asked.quick:
                    paths = bench.pictures(min(bench.asked.images, per_core * cores()), side)
                    decode_both_ways(bench, model, steps, paths, side)


def decode_both_ways(
    bench: Bench, model: str, steps: Preprocessing, paths: Sequence[Path], side: int
) -> None:
    """Measure exact decoding, and `fast` decoding where it can decode these pictures smaller."""
    needed = steps.needed_side
    ways: dict[str, int | None] = {"exact": None}
    if needed is not None and 2 * needed <= SHORTEST_SHARE * side:
        ways["fast"] = needed
    for way, at_least in ways.items():
        rates = decode_rates(paths, steps, at_least, cores(), bench.asked.repeats)
        bench.add(Measured(model, "decode", f"{way}, {side} pixels", rates))


def work(bench: Bench, model: str) -> None:
    """Open a worker with one model; measure its engine, then sweeps."""
    does_engine = bench.wants("engine", f"{model} engine", OPENING_MINUTES)
    does_sweep = bench.wants("sweep", f"{model} sweep", OPENING_MINUTES)
    if not does_engine and not does_sweep:
        return
    bench.say(f"{model}: opening a worker (on a GPU it compiles for minutes)")
    checkpoint = bench.checkpoint(model)
    has_database = bench.settings.names_cluster
    if bench.place.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.place.device)
    with bench.trying(f"{model} worker"), ExitStack() as resources:
        opening = (
            open_with_database(checkpoint, bench.settings)
            if has_database
            else open_with_file(checkpoint, bench.settings, bench.folder / f"{model}.jsonl")
        )
        worker = resources.enter_context(opening)
        bench.say(f"{model}: loaded in {worker.model.seconds:.1f} s")
        if does_engine:
            engine(bench, model, worker)
        if does_sweep and bench.wants("sweep", f"{model} sweep"):
            sweeps(bench, model, worker)


def engine(bench: Bench, model: str, worker: Worker) -> None:
    """Measure a loaded model with unlimited images, and its plain network."""
    loaded, asked = worker.model, bench.asked
    wall = statistics.median(bench.matrix) * 1e3 / SHAPES[model].gflop if bench.matrix else None
    facts: dict[str, float | str] = {
        "images a call": str(loaded.call_images),
        "load seconds": round(loaded.seconds, 1),
    }
    with bench.trying(f"{model} engine"):
        engine_rate(loaded, worker.device, asked.seconds / 3)
        rates = tuple(
            engine_rate(loaded, worker.device, asked.seconds) for _ in range(asked.repeats)
        )
        if bench.place.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(bench.place.device)
            facts["GPU memory GiB"] = round(peak / 2**30, 2)
        bench.add(Measured(model, "engine", "as in a worker", rates, wall, "the matrices", facts))
    with bench.trying(f"{model} network"):
        rates = network_rates(loaded, asked.seconds / 3)
        bench.add(Measured(model, "network", "not compiled", rates, wall, "the matrices"))


def sweeps(bench: Bench, model: str, worker: Worker) -> None:
    """Measure sweeps from files to durable rows."""
    paths = bench.pictures(bench.sweep_images(model))
    decoding = bench.settings.decode
    walls = [bench.rate(model, "decode", f"{decoding}, {SIDE}"), bench.rate(model, "engine")]
    known = [rate for rate in walls if rate]
    wall = min(known) if len(known) == len(walls) else None
    for in_flight in bench.asked.in_flight:
        way = f"{decoding}, {in_flight} batches in flight, into {worker.sink}"
        with bench.trying(f"{model} sweep, {way}"):
            found = [measured(worker, paths, in_flight) for _ in range(bench.asked.repeats)]
            facts = _middle_facts(
                {
                    "processors": lambda one: one.processors_busy,
                    "device": lambda one: one.device_busy,
                    "worker's own cores": lambda one: one.worker_cores,
                },
                found,
            )
            rates = tuple(one.images_per_second for one in found)
            name = "the lower of decode, engine"
            bench.add(Measured(model, "sweep", way, rates, wall, name, facts))


def _middle_facts(
    facts: dict[str, Callable[[Any], float]], found: Sequence[Any]
) -> dict[str, float | str]:
    return {name: round(statistics.median(map(fact, found)), 2) for name, fact in facts.items()}


def pipelines(bench: Bench, model: str) -> None:
    """Measure transformers' pipeline on the same files."""
    if not bench.wants("pipeline", f"{model} pipeline"):
        return
    with bench.trying(f"{model} pipeline"):
        paths = bench.pictures(min(bench.asked.images, max(PIPELINE_SIZES) * IMAGES_PER_SIZE))
        device, repeats = str(bench.place.device), bench.asked.repeats
        found = pipeline_rates(bench.checkpoint(model), paths, device, PIPELINE_SIZES, repeats)
        wall = bench.rate(model, "sweep")
        for size, rates in found.items():
            way = f"batch size {size}"
            bench.add(Measured(model, "transformers' pipeline", way, rates, wall, "our sweep"))
