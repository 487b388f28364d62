"""GPU engine: compiled calls of few shapes, with the next call's images copied meanwhile."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import torch

from fakesweep.workers.error_text import one_line
from fakesweep.workers.models.numerics import ModelInput, probabilities, scale_and_shift, shape_of
from fakesweep.workers.models.place import Place
from fakesweep.workers.sandbox.preprocess import Preprocessing

LARGEST_DIFFERENCE = 0.02
"""Largest deviation of a faster variant's probabilities; rounding explains no more."""

_WARM_UP_CALLS = 3
_TIMED_CALLS = 5
_RECORDING_ERRORS = range(900, 909)  # CUDA's codes for unrecordable calls on a sound device
_MOST_COMPILED = 128

Score = Callable[[torch.Tensor], torch.Tensor]
"""Returns float32 probabilities [images, labels] of images in a `Scorer`'s input form."""

_log = structlog.get_logger(__name__)


class Scorer(torch.nn.Module):
    """A network with normalisation and probabilities, compiled as one.

    Takes uint8 [images, height, width, 3], or float32 [images, 3, height, width] from
    transformers' own processor; returns float32 probabilities, [images, labels].
    """

    def __init__(
        self,
        network: torch.nn.Module,
        place: Place,
        steps: Preprocessing | None,
        *,
        is_multi_label: bool,
    ) -> None:
        super().__init__()
        self.scale: torch.Tensor
        self.shift: torch.Tensor
        self.network = network
        self._dtype = place.precision.dtype
        self._is_multi_label = is_multi_label
        scale, shift = (torch.ones(3), torch.zeros(3)) if steps is None else scale_and_shift(steps)
        self.register_buffer("scale", scale.to(place.device), persistent=False)
        self.register_buffer("shift", shift.to(place.device), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise and classify images; return probabilities."""
        if images.dtype == torch.uint8:
            images = torch.addcmul(self.shift, images.float(), self.scale).permute(0, 3, 1, 2)
        logits = self.network(pixel_values=images.to(self._dtype)).logits
        return probabilities(logits, is_multi_label=self._is_multi_label)


def _event() -> torch.cuda.Event:
    """Return an event whose waiting thread sleeps, which leaves the processor to loaders."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


@dataclass
class _Staging:
    """Pinned memory for a copy to the device, and the event of its completion."""

    pinned: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    left: torch.cuda.Event = field(default_factory=_event)


class GpuEngine:
    """Runs a network on a CUDA device; used by one thread.

    The next call's images are copied on a separate stream while a call runs.
    """

    calls_ahead = 1

    def __init__(
        self,
        network: torch.nn.Module,
        place: Place,
        steps: Preprocessing | None,
        *,
        is_multi_label: bool = False,
    ) -> None:
        self.network = network
        self._device = place.device
        self._scorer = Scorer(network, place, steps, is_multi_label=is_multi_label)
        self._quick: dict[int, Score] = {}
        self._quick_shape: tuple[int, ...] = ()
        self._travel = torch.cuda.Stream(place.device)  # type: ignore[no-untyped-call]
        self._slots = itertools.cycle((_Staging(), _Staging()))

    def quicken(self, key: str, trial: ModelInput, call_images: int) -> None:
        """Compile and record calls of `call_images` and small ones; others are padded to these."""
        self._quick_shape = trial.shape
        with torch.inference_mode(), torch.cuda.device(self._device):
            self._quick = quickened(
                key,
                self._scorer,
                [self._travelled([trial], n) for n in (small_call(call_images), call_images)],
                compile_=compiled,
                record=recorded,
                seconds_of=timed,
            )

    def start(self, prepared: Sequence[ModelInput]) -> Callable[[], torch.Tensor]:
        """Start a call; return a function that waits for probabilities, float32 [images, labels].

        Raises:
            ValueError: the images differ in size.
            RuntimeError: the device cannot take them; the function raises later errors.
        """
        quick = self._quick if shape_of(prepared) == self._quick_shape else {}
        size = min((n for n in quick if n >= len(prepared)), default=len(prepared))
        score = quick.get(size, self._scorer)
        with torch.inference_mode(), torch.cuda.device(self._device):
            try:
                scores = score(self._travelled(prepared, size))[: len(prepared)]
            except torch.OutOfMemoryError:
                self._quick.pop(size, None)
                raise
            landed = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
            landed.copy_(scores, non_blocking=True)
            done = _event()
            done.record()

        def wait() -> torch.Tensor:
            done.synchronize()
            return landed

        return wait

    def _travelled(self, prepared: Sequence[ModelInput], size: int) -> torch.Tensor:
        """Return the images on the device, padded to `size` with stale pixels."""
        slot = next(self._slots)
        slot.left.synchronize()
        shape = (size, *shape_of(prepared))
        if slot.pinned.shape[1:] != shape[1:] or len(slot.pinned) < size:
            kind = torch.from_numpy(prepared[0][:0].copy()).dtype
            slot.pinned = torch.zeros(shape, dtype=kind, pin_memory=True)
        memory = slot.pinned.numpy()
        for number, image in enumerate(prepared):
            memory[number] = image
        here = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._travel):
            moved = slot.pinned[:size].to(self._device, non_blocking=True)
            slot.left.record(self._travel)
        here.wait_event(slot.left)
        moved.record_stream(here)
        return moved


def small_call(call_images: int) -> int:
    """Return the number of images of a small call, an eighth of a full one."""
    return -(-call_images // 8)


def quickened(
    key: str,
    scorer: Score,
    examples: Sequence[torch.Tensor],
    *,
    compile_: Callable[[Score], Score],
    record: Callable[[Score, torch.Tensor], Score],
    seconds_of: Callable[[Score, torch.Tensor], float],
) -> dict[int, Score]:
    """Return the fastest working scorer for each example's number of images.

    Tries the network compiled and as it is, both recorded as CUDA graphs, and takes the faster
    one for the last example. A variant that fails, or whose probabilities deviate from the plain
    network's, is logged and dropped.
    """
    taken: dict[int, Score] = {}
    least = math.inf
    for way, prepare in (("compiled", compile_), ("as it is", lambda one: one)):
        try:
            network = prepare(scorer)
            quick = {len(example): record(network, example) for example in examples}
            for example in examples:
                _hold(quick[len(example)](example), scorer(example))
            seconds = seconds_of(quick[len(examples[-1])], examples[-1])
        except torch.OutOfMemoryError:
            if not taken:
                raise
        except Exception as error:  # the compiler raises any class
            if isinstance(error, torch.AcceleratorError) and not _says_no_to_recording(error):
                raise
            _log.warning(
                "model_not_quickened", model=key, way=way, kind=type(error).__name__,
                slower_because=one_line(error),
            )  # fmt: skip
        else:
            _log.info("model_timed", model=key, way=way, seconds_a_call=round(seconds, 6))
            if seconds < least:
                taken, least = quick, seconds
    return taken


def timed(score: Score, images: torch.Tensor) -> float:
    """Return the seconds of a call on the device, the minimum of a few."""
    best = math.inf
    for _ in range(_TIMED_CALLS):
        torch.cuda.synchronize(images.device)
        started = time.perf_counter()
        score(images)
        torch.cuda.synchronize(images.device)
        best = min(best, time.perf_counter() - started)
    return best


def _hold(found: torch.Tensor, expected: torch.Tensor) -> None:
    difference = float((found - expected).abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ArithmeticError(f"its probabilities are off by {difference:.3g}")


def compiled(scorer: Score) -> Score:
    """Return the network, compiled at its first call with each shape.

    Raises torch's limit, which silently stops compiling after eight shapes of all models.
    """
    torch._dynamo.config.recompile_limit = _MOST_COMPILED  # noqa: SLF001 - documented under this name
    quick: Score = torch.compile(scorer, dynamic=False)
    return quick


def recorded(scorer: Score, example: torch.Tensor) -> Score:
    """Record a call as a CUDA graph; return a scorer that replays it for the example's shape.

    Torch.compile's own graphs are bound to the compiling thread.
    """
    images = example.clone()
    aside = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(example.device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP_CALLS):
            scorer(images)
    torch.cuda.current_stream(example.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads, of loaded models, keep running meanwhile.
    with (
        torch.cuda.stream(aside),
        torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"),
    ):
        scores = scorer(images)

    def play(batch: torch.Tensor) -> torch.Tensor:
        images.copy_(batch)
        graph.replay()
        return scores.clone()

    play.scorer = scorer  # type: ignore[attr-defined]  # keeps its kernels alive
    return play


def _says_no_to_recording(error: torch.AcceleratorError) -> bool:
    return getattr(error, "error_code", None) in _RECORDING_ERRORS
