"""Effect of faster modes on the scores: `python -m benchmarks.effect FOLDER --model KEY`.

Each mode is compared with the reference, float32 and exact decoding.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.machine import cores, describe
from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.settings import Settings
from fakesweep.workers.models.load import LoadedModel, load_model
from fakesweep.workers.models.numerics import ModelInput
from fakesweep.workers.models.place import resolve_place
from fakesweep.workers.sandbox.decode import decode

READ_AT_ONCE = 512

Scores = npt.NDArray[np.float64]


def main() -> None:
    """Score a folder's images in each mode, and print the deviations from the reference."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effect", description=__doc__)
    parser.add_argument("folder", type=Path, help="images, searched in all folders below it")
    parser.add_argument("--model", default="vit-tiny-cifake", metavar="KEY|FOLDER")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda:N")
    parser.add_argument("--real-below", type=float, default=0.2, metavar="P_FAKE")
    parser.add_argument("--fake-above", type=float, default=0.8, metavar="P_FAKE")
    asked = parser.parse_args()
    entry = read_catalogue(None).model(asked.model)
    policy = Policy("asked for", asked.real_below, asked.fake_above)
    paths = sorted(path for path in asked.folder.rglob("*") if path.is_file())
    machine = describe()
    print(f"{machine['cpu']}, {machine['cores']} cores, torch {machine['versions']['torch']}")
    found: dict[tuple[str, str], Scores] = {}
    for precision, decoding in product(("float32", "bfloat16"), ("exact", "fast")):
        place = resolve_place(asked.device, precision)
        model = load_model(entry, place, decoding=decoding)
        found[precision, decoding] = score(model, paths, decoding)
    reference = found.pop(("float32", "exact"))
    print(f"{entry.key}: {len(reference)} of {len(paths)} files are images")
    for way, scores in found.items():
        print(" ".join(way).ljust(16), difference(reference, scores, policy))


def score(model: LoadedModel, paths: Sequence[Path], decoding: str) -> Scores:
    """Return p_fake of each decodable image, in the order of the paths."""
    scores: list[float] = []
    for prepared in _prepared(model, paths, decoding):
        for start in range(0, len(prepared), model.call_images):
            for answer in model.classify(prepared[start : start + model.call_images]):
                if isinstance(answer, ImageFailure):
                    raise answer
                scores.append(model.identity.labels.p_fake(answer))
    return np.array(scores)


def difference(reference: Scores, scores: Scores, policy: Policy) -> str:
    """Return a line with the scores' deviations from the reference and the changed verdicts."""
    off = np.abs(scores - reference)
    changed = np.mean([
        policy.judge(one) is not policy.judge(other)
        for one, other in zip(reference, scores, strict=True)
    ])  # fmt: skip
    sides = np.mean((reference > 0.5) != (scores > 0.5))
    return (
        f"verdicts changed {changed:.4%}, sides of 0.5 changed {sides:.4%}, "
        f"p_fake off by at most {off.max():.5f}, by {np.median(off):.6f} at the median"
    )


def _prepared(
    model: LoadedModel, paths: Sequence[Path], decoding: str
) -> Iterator[list[ModelInput]]:
    with ThreadPoolExecutor(cores()) as threads:
        for start in range(0, len(paths), READ_AT_ONCE):
            some = threads.map(
                partial(_prepare, model, decoding), paths[start : start + READ_AT_ONCE]
            )
            yield [one for one in some if one is not None]


def _prepare(model: LoadedModel, decoding: str, path: Path) -> ModelInput | None:
    side = model.steps.needed_side if model.steps and decoding == "fast" else None
    try:
        return model.prepare(decode(path.read_bytes(), Settings().max_image_pixels, side).pixels)
    except ImageFailure:
        return None


if __name__ == "__main__":
    main()
