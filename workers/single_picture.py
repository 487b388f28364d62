"""Judges single pictures with a worker's loader, models and arithmetic; no queue, no ledger."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakesweep.schema.failures import ModelFailed, failure_of
from fakesweep.schema.judging.catalogue import BUNDLED, Catalogue, ModelEntry
from fakesweep.schema.judging.labels import SCORE_DECIMALS, Side
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.message import BatchImage
from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Kind, Lane, ReadAs, VerdictWord
from fakesweep.workers.fetch.body import check_size
from fakesweep.workers.sandbox.facts import with_facts
from fakesweep.workers.sandbox.losses import LoaderLost, Trials
from fakesweep.workers.sandbox.pool import LoaderHandle, LoaderPool
from fakesweep.workers.sandbox.preprocess import Pixels

if TYPE_CHECKING:
    from fakesweep.workers.models.load import LoadedModel

SCORE_IS_NO_CHANCE = (
    "p_fake is the model's own score, not the chance that the picture is fake: where nearly all "
    "pictures are real, so are most of those it flags"
)
NOT_ITS_OWN = {
    ReadAs.SCALED: "its samples are wider than 8 bits, and were brought to 8 by their own range",
    ReadAs.PREVIEW: "what was judged is the preview that this camera file carries of itself",
    ReadAs.COMPOSITE: "what was judged is the flat picture of this layered file",
}
"""Caveats about pixels that differ from the picture's own."""


@dataclass(frozen=True, slots=True)
class Check:
    """One model's score of one picture, and the verdict by a policy's cuts.

    `uri` is the requested picture, None where its bytes were given. `scores` are the model's
    probabilities by label, in [0, 1]; `labels` gives the side of each label; `p_fake` sums the
    fake sides. Width and height are in pixels, after orientation.
    """

    uri: str | None
    verdict: VerdictWord
    kind: Kind | None
    p_fake: float
    scores: dict[str, float]
    labels: dict[str, Side]
    model: str
    model_revision: str
    policy: Policy
    content: Content
    precision: str
    is_bundled: bool = False

    @property
    def why(self) -> str:
        """Explanation of the verdict by score and cuts."""
        cuts, score = self.policy, f"p_fake {self.p_fake:.{SCORE_DECIMALS}f}"
        match self.verdict:
            case VerdictWord.FAKE:
                reason = f"{score} is above {cuts.fake_above:g}"
            case VerdictWord.REAL:
                reason = f"{score} is below {cuts.real_below:g}"
            case VerdictWord.UNCERTAIN:
                reason = f"{score} is between {cuts.real_below:g} and {cuts.fake_above:g}"
        return f"{reason}, by the cuts of policy {cuts.name!r}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Warnings for a person who acts on the verdict."""
        found = [SCORE_IS_NO_CHANCE]
        if self.is_bundled:
            found.insert(0, f"{self.model} is for trying the system out, not for judging pictures")
        if self.content.read_as is not None and self.content.read_as in NOT_ITS_OWN:
            found.append(NOT_ITS_OWN[self.content.read_as])
        frames = self.content.frame_count or 1
        if frames > 1:
            found.append(f"only the first of {frames} frames was judged")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON, named as in the view `verdicts`."""
        return {
            "uri": self.uri,
            "status": "classified",
            "verdict": self.verdict.value,
            "kind": None if self.kind is None else self.kind.value,
            "p_fake": self.p_fake,
            "model": self.model,
            "model_revision": self.model_revision,
            "scores": self.scores,
            "labels": {name: side.value for name, side in self.labels.items()},
            "policy": self.policy.name,
            "real_below": self.policy.real_below,
            "fake_above": self.policy.fake_above,
            "why": self.why,
            "caveats": list(self.caveats),
            "sha256": self.content.sha256.hex(),
            "size_bytes": self.content.size_bytes,
            "width": self.content.width,
            "height": self.content.height,
            "format": self.content.format,
            "frame_count": self.content.frame_count,
            "read_as": None if self.content.read_as is None else self.content.read_as.value,
            "precision": self.precision,
        }


class Checker:
    """Keeps a loader process and the requested models for the next picture.

    Thread-safe; calls run one after another.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        # The caller reads with its own rights; file roots guard against other people's URIs.
        self._settings = settings.model_copy(update={"file_roots": (Path("/"),)})
        self._catalogue = catalogue
        self._loaders = LoaderPool(self._settings, 1)  # it starts while models load
        self._models: dict[ModelEntry, LoadedModel] = {}
        self._lock = threading.Lock()

    def check(
        self, picture: bytes | str, models: Sequence[str], policy: Policy, uri: str | None = None
    ) -> list[Check]:
        """Judge a picture, given as bytes or as a URI, by each model.

        `uri` names the picture in the answers.

        Raises:
            ImageFailure: the picture cannot be fetched, decoded or scored.
            CatalogueError: a model is not known.
            ModelError: a model cannot be loaded.
            DeviceError: the device is broken, or has no memory for a single image.
            LoadersError: no loader process can be started.
        """
        with self._lock:
            loaded = [self._model(reference) for reference in models]
            if isinstance(picture, bytes):
                check_size(len(picture), self._settings)
            content, pixels = self._prepared(picture, loaded)
            return [
                self._judged(model, inputs, content, policy, uri)
                for model, inputs in zip(loaded, pixels, strict=True)
            ]

    def close(self) -> None:
        """End the loader process."""
        self._loaders.close()

    def _model(self, reference: str) -> "LoadedModel":
        entry = self._catalogue.model(reference)
        if entry not in self._models:
            # Imported here: the loader starts during torch's seconds of import.
            from fakesweep.workers.models.load import load_model  # noqa: PLC0415
            from fakesweep.workers.models.place import resolve_place  # noqa: PLC0415

            settings = self._settings
            self._models[entry] = load_model(
                entry,
                resolve_place(settings.device, settings.precision),
                decoding=settings.decode,
                cpu_threads=settings.cpu_threads,
                call_images=settings.device_batch_images,
            )
        return self._models[entry]

    def _prepared(
        self, picture: bytes | str, models: Sequence["LoadedModel"]
    ) -> tuple[Content, list[Any]]:
        """Return the picture's content, and its pixels after each model's preprocessing.

        A lost loader is replaced; `Trials` decides when the picture is to blame.
        """
        steps = [model.steps and asdict(model.steps) for model in models]
        image = BatchImage(0, "")
        trials = Trials()
        while True:
            trials.next([image])
            time.sleep(trials.pause_seconds)
            try:
                content, pixels = self._loaded(picture, steps)
            except LoaderLost as lost:
                if (blamed := trials.blame(lost, [image], [image])) is not None:
                    raise blamed[1] from lost
            else:
                return content, [
                    model.finish(one) for model, one in zip(models, pixels, strict=True)
                ]

    def _loaded(self, picture: bytes | str, steps: Sequence[Any]) -> tuple[Content, list[Pixels]]:
        with self._loaders.one(Lane.BULK) as loader:
            reply = _had(picture, loader)
            content = Content(bytes.fromhex(reply["sha256"]), reply["size_bytes"])
            ((reply, pixels),) = loader.decode([0], steps)
            _raise_failure(reply)
            return with_facts(content, reply["content"], 0), pixels

    def _judged(
        self, model: "LoadedModel", prepared: Any, content: Content, policy: Policy, uri: str | None
    ) -> Check:
        (scores,) = model.classify([prepared])
        if isinstance(scores, ModelFailed):
            raise scores
        identity = model.identity
        p_fake = identity.labels.p_fake(scores)
        verdict = policy.judge(p_fake)
        return Check(
            uri=uri,
            verdict=verdict,
            kind=None if verdict is VerdictWord.REAL else identity.labels.kind(scores),
            p_fake=p_fake,
            scores=_rounded(zip(identity.labels.names, scores, strict=True)),
            labels=dict(zip(identity.labels.names, identity.labels.sides, strict=True)),
            model=identity.key,
            model_revision=identity.revision,
            policy=policy,
            content=content,
            precision=model.place.precision.value,
            is_bundled=identity.source.startswith(BUNDLED),
        )


def _rounded(scores: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return scores as in the ledger: equal labels summed, then rounded."""
    summed: dict[str, float] = {}
    for name, score in scores:
        summed[name] = summed.get(name, 0.0) + score
    return {name: round(score, SCORE_DECIMALS) for name, score in summed.items()}


def _had(picture: bytes | str, loader: LoaderHandle) -> dict[str, Any]:
    if isinstance(picture, bytes):
        reply = loader.hand_over(picture)
    else:
        (reply,) = loader.fetch([picture])
    _raise_failure(reply)
    return reply


def _raise_failure(reply: dict[str, Any]) -> None:
    if "failure" in reply:
        raise failure_of(reply["failure"], reply["message"])
