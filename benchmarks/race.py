"""Races: contenders classify the same photographs by the same checkpoint, in turns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.checkpoints import Name, make_checkpoint
from benchmarks.corpus import Corpus, make_corpus
from benchmarks.peers.running import PEERS, python_of, run_peer
from benchmarks.rates import WALLS
from benchmarks.runs import FAKESWEEP, Job, Result, Run
from benchmarks.s3 import served
from benchmarks.sweep import sweep

SWEEPS: dict[str, Mapping[str, str]] = {
    FAKESWEEP: {},
    f"{FAKESWEEP}-fast": {"DECODE": "fast"},
    f"{FAKESWEEP}-float32": {"PRECISION": "float32"},
}
"""Configurations of fakesweep by settings without `FAKESWEEP_`; the first is the default."""


@dataclass(frozen=True)
class Race:
    """A checkpoint and its number of photographs, `quick_images` in the quick form.

    `walls` names the machine's limits that are measured in turns with the contenders.
    """

    name: str
    about: str
    images: int
    quick_images: int
    uniform: bool
    contenders: tuple[str, ...]
    checkpoint: Name
    walls: tuple[str, ...] = ("bare decode",)
    from_s3: bool = False
    has_duplicates: bool = True

    def corpus(self, images: int) -> Corpus:
        """Return the recipe of the race's photographs."""
        if self.uniform:
            return Corpus(images, uniform=True, truncated_percent=0, duplicate_percent=0)
        return Corpus(images) if self.has_duplicates else Corpus(images, duplicate_percent=0)


RACES = (
    Race(
        "null",
        "a model that does next to nothing, 500-pixel JPEGs: decoding is the wall",
        4_000,
        400,
        uniform=True,
        contenders=(FAKESWEEP, "pipeline-8", "daft"),
        checkpoint="null",
    ),
    Race(
        "null-s3",
        "the same from a local S3 server",
        4_000,
        400,
        uniform=True,
        contenders=(FAKESWEEP,),
        checkpoint="null",
        walls=("bare decode", "bare fetch"),
        from_s3=True,
    ),
    Race(
        "tiny",
        "vit-tiny-cifake, JPEGs of mixed size and quality, 1 % truncated, 20 % duplicates",
        4_000,
        300,
        uniform=False,
        contenders=(*SWEEPS, *PEERS),
        checkpoint="tiny",
    ),
    Race(
        "vit-b",
        "ViT-B/16-224 with random weights, such JPEGs without duplicates: the model is the wall",
        320,
        30,
        uniform=False,
        contenders=(FAKESWEEP, "pipeline-8"),
        checkpoint="vit-b",
        walls=("bf16 matrices",),
        has_duplicates=False,
    ),
)

QUICK_CONTENDERS: dict[str, tuple[str, ...]] = {"null": (FAKESWEEP,), "tiny": (FAKESWEEP, *PEERS)}
"""Contenders of races in the quick form, where not all take part."""


@dataclass
class Turns:
    """Results so far, by contender and by machine limit, and the reasons of missing ones."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    walls: dict[str, list[float]] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def results(self, race: str) -> list[Result]:
        """Return each contender's runs in a race."""
        return [
            Result(race, name, _sink(name), tuple(runs), self.troubles.get(name, ""))
            for name, runs in self.runs.items()
        ]


@contextmanager
def prepared(race: Race, images: int, folder: Path) -> Iterator[Job]:
    """Make a race's missing files below a folder, and serve them by S3."""
    photographs = make_corpus(race.corpus(images), folder / "corpora")
    checkpoint = make_checkpoint(race.checkpoint, folder / "checkpoints")
    job = Job(photographs, str(photographs), images, checkpoint)
    with served(job) if race.from_s3 else nullcontext(job) as found:
        yield found


def run(
    race: Race, job: Job, contenders: Sequence[str], repeats: int, pythons: Mapping[str, str]
) -> Iterator[tuple[str, Turns]]:
    """Measure machine limits and contenders in turns; yield each name with all results so far.

    Turns make the figures comparable on a shared machine, whose load changes. A contender that
    fails leaves the race with its reason.
    """
    turns = Turns({name: [] for name in contenders}, {name: [] for name in race.walls})
    for _ in range(repeats):
        for name in race.walls:
            turns.walls[name].append(WALLS[name](job))
            yield name, turns
        for name in contenders:
            if name in turns.troubles:
                continue
            try:
                turns.runs[name].append(_run_one(name, job, pythons))
            except (RuntimeError, OSError) as error:
                turns.troubles[name] = str(error)
            yield name, turns


def find_pythons(
    contenders: Sequence[str], folder: Path, *, install: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Return each available peer's Python, and the reasons of the missing ones."""
    pythons, troubles = {}, {}
    for name in contenders:
        if name in PEERS:
            try:
                pythons[name] = python_of(name, folder, install=install)
            except (RuntimeError, OSError) as error:
                troubles[name] = str(error)
    return pythons, troubles


def _run_one(name: str, job: Job, pythons: Mapping[str, str]) -> Run:
    if name in SWEEPS:
        return sweep(job, SWEEPS[name])
    return run_peer(name, job, pythons[name])


def _sink(name: str) -> str:
    return "PostgreSQL" if name in SWEEPS else PEERS[name].sink
