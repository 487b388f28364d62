"""What fakesweep wants to reach on two cores, put beside what was measured in the same run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.checkpoints import GFLOP_OF_VIT_B
from benchmarks.runs import FAKESWEEP, Result


@dataclass(frozen=True)
class Goal:
    """At least `factor` times a rate: the machine's own, or another contender's."""

    race: str
    factor: float
    beside: str
    who: str = FAKESWEEP


GOALS = (
    Goal("null", 0.85, "bare decode"),
    Goal("null-s3", 0.80, "bare fetch or decode"),
    Goal("tiny", 3.0, "ray"),
    Goal("tiny", 1.3, "daft"),
    Goal("tiny", 2.0, "daft", f"{FAKESWEEP}-fast"),
    Goal("tiny", 5.0, "celery"),
    Goal("vit-b", 0.90, "bf16 matrices"),
    Goal("vit-b", 2.8, "pipeline-1"),
    Goal("vit-b", 2.8, "pipeline-8"),
)


def machine_rates(
    gflops: Mapping[str, float],
    decode_rates: Mapping[str, float],
    fetch_rates: Mapping[str, float],
) -> dict[tuple[str, str], float]:
    """Return what the machine itself would allow, in images a second, by race and name."""
    rates = {(race, "bare decode"): rate for race, rate in decode_rates.items()}
    for race, rate in fetch_rates.items():
        rates[race, "bare fetch or decode"] = min(rate, decode_rates[race])
    rates[("vit-b", "bf16 matrices")] = gflops["bfloat16"] / GFLOP_OF_VIT_B
    rates[("vit-b", "float32 matrices")] = gflops["float32"] / GFLOP_OF_VIT_B
    return rates


def told(
    results: Sequence[Result], rates: Mapping[tuple[str, str], float]
) -> list[dict[str, object]]:
    """Return each goal whose two sides were measured: what was wanted, and what was reached."""
    ran = {(one.race, one.contender): one for one in results if one.runs}
    measured = {which: one.images_per_second for which, one in ran.items()}
    beside = {**rates, **measured}
    found: list[dict[str, object]] = []
    for goal in GOALS:
        ours, theirs = measured.get((goal.race, goal.who)), beside.get((goal.race, goal.beside))
        if ours and theirs:
            found.append({
                "race": goal.race, "contender": goal.who,
                "beside": goal.beside, "their_images_per_second": theirs,
                "wanted": goal.factor, "reached": ours / theirs,
                "is_met": ours / theirs >= goal.factor,
                "without_their_start": ours / _without_start(ran, goal, theirs),
            })  # fmt: skip
    return found


def _without_start(ran: Mapping[tuple[str, str], Result], goal: Goal, theirs: float) -> float:
    """Return the other's rate where its time to the first result does not count, ours does."""
    other = ran.get((goal.race, goal.beside))
    return theirs if other is None else other.moving_per_second


def line(goal: Mapping[str, object]) -> str:
    """Return a goal as a line of text."""
    word = "met" if goal["is_met"] else "NOT met"
    return (
        f"{goal['race']:7} {goal['contender']:14} {goal['reached']:6.2f} x {goal['beside']} "
        f"({goal['their_images_per_second']:.1f} images/s); "
        f"wanted {goal['wanted']} x: {word}; {goal['without_their_start']:.2f} x where the other's "
        f"time to its first result is not counted"
    )
