"""Performance goals on two cores, compared with alternating measurements."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.runs import FAKESWEEP, Result, scatter

STEADY = 0.25
"""Spread of a goal's ratios, as a share of their median, above which they are unreliable."""


@dataclass(frozen=True)
class Goal:
    """A rate of at least `factor` times another contender's, or the machine's slowest limit."""

    race: str
    factor: float
    beside: tuple[str, ...]
    who: str = FAKESWEEP


GOALS = (
    Goal("null", 0.85, ("bare decode",)),
    Goal("null-s3", 0.80, ("bare fetch", "bare decode")),
    Goal("tiny", 3.0, ("ray",)),
    Goal("tiny", 1.3, ("daft",)),
    Goal("tiny", 2.0, ("daft",), f"{FAKESWEEP}-fast"),
    Goal("tiny", 5.0, ("celery",)),
    Goal("vit-b", 0.90, ("bf16 matrices",)),
    Goal("vit-b", 2.8, ("pipeline-1",)),
    Goal("vit-b", 2.8, ("pipeline-8",)),
)


def told(
    results: Sequence[Result], walls: Mapping[tuple[str, str], Sequence[float]]
) -> list[dict[str, object]]:
    """Return each goal whose two sides were measured, with target and result.

    `walls` are the machine's limits by race and name, one rate a turn. A result is the ratios of
    the pairs, one a turn.
    """
    ran = {(one.race, one.contender): one for one in results if one.runs}
    found = []
    for goal in GOALS:
        ours = ran.get((goal.race, goal.who))
        theirs = _side(goal, ran, walls, moving=False)
        if ours and theirs:
            rates = [run.images_per_second for run in ours.runs]
            found.append(_as_told(goal, rates, theirs, _side(goal, ran, walls, moving=True)))
    return found


def line(goal: Mapping[str, object]) -> str:
    """Return a goal as a line of text."""
    word = "met" if goal["is_met"] else "NOT met"
    said = (
        f"{goal['race']:7} {goal['contender']:14} {goal['reached']:6.2f} x {goal['beside']} "
        f"({goal['least']:.2f} to {goal['most']:.2f} in {goal['pairs']} pairs; "
        f"{goal['their_images_per_second']:.1f} images/s); "
        f"wanted {goal['wanted']} x: {word}; {goal['without_their_start']:.2f} x where the other's "
        f"time to its first result is not counted"
    )
    return said if goal["is_steady"] else f"{said}; the pairs scatter by more than a quarter"


def _side(
    goal: Goal,
    ran: Mapping[tuple[str, str], Result],
    walls: Mapping[tuple[str, str], Sequence[float]],
    *,
    moving: bool,
) -> list[float]:
    """Return the rates that a goal is compared with, one a turn, [] where not measured.

    `moving` excludes a contender's time to its first result.
    """
    sides: list[Sequence[float]] = []
    for name in goal.beside:
        which = (goal.race, name)
        if which in ran:
            runs = ran[which].runs
            sides.append(
                [run.moving_per_second if moving else run.images_per_second for run in runs]
            )
        else:
            sides.append(walls.get(which, ()))
    return [min(turn) for turn in zip(*sides, strict=False)]


def _as_told(
    goal: Goal, ours: Sequence[float], theirs: Sequence[float], moving: Sequence[float]
) -> dict[str, object]:
    ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
    reached = statistics.median(ratios)
    return {
        "race": goal.race,
        "contender": goal.who,
        "beside": " or ".join(goal.beside),
        "their_images_per_second": statistics.median(theirs),
        "wanted": goal.factor,
        "pairs": len(ratios),
        "reached": reached,
        "least": min(ratios),
        "most": max(ratios),
        "is_steady": scatter(ratios) <= STEADY,
        "is_met": reached >= goal.factor,
        "without_their_start": statistics.median(
            one / other for one, other in zip(ours, moving, strict=False)
        ),
    }
