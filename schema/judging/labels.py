"""Labels: maps each class name of a model to a side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fakesweep.schema.errors import ModelError
from fakesweep.schema.words import Kind

SCORE_DECIMALS = 7
"""Decimals of a score, shown, stored and judged; a float32 in [0, 1] has no more."""


class Side(StrEnum):
    """The side of a class; all but `real` count towards `p_fake`."""

    REAL = "real"
    AI_GENERATED = "ai_generated"
    DEEPFAKE = "deepfake"
    FAKE = "fake"


class SidesOrigin(StrEnum):
    """The origin of the sides: the checkpoint's names, or the catalogue's order."""

    NAMES = "names"
    CATALOGUE = "catalogue"


KIND_OF_SIDE = {
    Side.AI_GENERATED: Kind.AI_GENERATED,
    Side.DEEPFAKE: Kind.DEEPFAKE,
    Side.FAKE: Kind.UNKNOWN,
}

VOCABULARY: dict[str, Side] = {
    **dict.fromkeys(
        ("real", "realism", "realistic", "authentic", "human", "humanmade", "original",
         "genuine", "natural", "nature", "photo", "photograph", "realimage", "notfake",
         "notai", "notaigenerated"),
        Side.REAL,
    ),
    **dict.fromkeys(
        ("ai", "aigenerated", "aiimage", "aigen", "artificial", "synthetic", "generated",
         "machinegenerated", "sd", "diffusion", "gan", "aiart"),
        Side.AI_GENERATED,
    ),
    **dict.fromkeys(
        ("deepfake", "deepfakes", "faceswap", "manipulated", "tampered", "altered"),
        Side.DEEPFAKE,
    ),
    **dict.fromkeys(("fake", "fakeimage", "notreal"), Side.FAKE),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labels:
    """A model's classes in index order: name and side of each."""

    names: tuple[str, ...]
    sides: tuple[Side, ...]
    origin: SidesOrigin

    def p_fake(self, scores: Sequence[float]) -> float:
        """Return the sum of the fake-side probabilities, in [0, 1], with up to seven decimals."""
        fake = sum(
            score for score, side in zip(scores, self.sides, strict=True) if side is not Side.REAL
        )
        # In this order a NaN stays one, and is refused.
        return round(min(max(fake, 0.0), 1.0), SCORE_DECIMALS)

    def kind(self, scores: Sequence[float]) -> Kind:
        """Return the kind of the strongest fake-side class."""
        fake_side = [
            (score, KIND_OF_SIDE[side])
            for score, side in zip(scores, self.sides, strict=True)
            if side is not Side.REAL
        ]
        return max(fake_side)[1]


def side_of(name: str) -> Side | None:
    """Return the side of a class name by the vocabulary, None where it is unknown."""
    return VOCABULARY.get(re.sub(r"[\W_]+", "", name.casefold()))


def read_labels(model: str, names: Sequence[str], catalogue_sides: Sequence[Side] | None) -> Labels:
    """Return the side of each class by its name, or by the catalogue where names are unknown.

    Raises:
        ModelError: names and catalogue contradict each other, a name is unknown, or a side has
            no class.
    """
    by_name = [side_of(name) for name in names]
    if catalogue_sides is not None and len(catalogue_sides) != len(names):
        raise ModelError(
            f"model {model!r} has {len(names)} classes ({_quoted(names)}), but the catalogue "
            f"expects {len(catalogue_sides)}; correct its `labels` entry or pin its revision"
        )
    silent = [name for name, side in zip(names, by_name, strict=True) if side is None]
    if not silent:
        origin = SidesOrigin.NAMES
    elif catalogue_sides is not None:
        origin = SidesOrigin.CATALOGUE
    else:
        raise ModelError(
            f"model {model!r} has classes whose meaning is not known ({_quoted(silent)}); say what "
            f"each class means, in index order, as `labels` of an entry in your catalogue file "
            f"(docs/models.md shows one)"
        )
    sides = tuple(
        mine if mine is not None else theirs
        for mine, theirs in zip(by_name, catalogue_sides or by_name, strict=True)
    )
    labels = Labels(tuple(names), tuple(side for side in sides if side), origin)
    _refuse_contradiction(model, labels, catalogue_sides)
    _refuse_one_sided(model, labels)
    return labels


def _refuse_contradiction(
    model: str, labels: Labels, catalogue_sides: Sequence[Side] | None
) -> None:
    agree = all(
        mine is theirs or (Side.FAKE in (mine, theirs) and Side.REAL not in (mine, theirs))
        for mine, theirs in zip(labels.sides, catalogue_sides or labels.sides, strict=True)
    )
    if not agree:
        raise ModelError(
            f"model {model!r} names its classes {_quoted(labels.names)}, but the catalogue says "
            f"they are {_quoted(catalogue_sides or ())}; refusing to guess which one is inverted: "
            f"check the checkpoint's revision and correct the catalogue"
        )


def _refuse_one_sided(model: str, labels: Labels) -> None:
    real = sum(side is Side.REAL for side in labels.sides)
    if real == 0 or real == len(labels.sides):
        raise ModelError(
            f"model {model!r} has no {'real' if real == 0 else 'fake'} class among "
            f"{_quoted(labels.names)}; it cannot tell real from fake"
        )


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"{index}: {word}" for index, word in enumerate(words))
