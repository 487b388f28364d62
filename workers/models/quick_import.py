"""Imports transformers' image classifiers without what only training and text generation need.

Left out are torch's compiler, distributed tensors and SciPy, two thirds of the time. transformers
itself does without the last two where they are not installed; the compiler is loaded when something
is compiled. What is left out stays out of these modules for good, so that this is for processes of
our own, not for those of people who call us.
"""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import structlog

_ABSENT = ("is_torch_distributed_available", "is_scipy_available")
_NAMES = "define_import_structure"
_MASKS = "torch._dynamo._trace_wrapped_higher_order_op"
_SHARED = (
    "transformers.modeling_layers",
    "transformers.modeling_utils",
    "transformers.masking_utils",
    "transformers.image_processing_backends",
)
"""What every model and every processor is built of."""

_log = structlog.get_logger(__name__)


def import_quickly() -> None:
    """Import torch and what all models share; without effect where transformers is loaded.

    Where transformers has changed, it is imported as a whole when it is needed.
    """
    if "transformers" in sys.modules:
        return
    gc.disable()  # a third of a second of looking through what stays
    try:
        importlib.import_module("torch")
        with _without_compiler(), _without_training():
            for name in _SHARED:
                importlib.import_module(name)
    except (AttributeError, ImportError, TypeError) as error:
        _log.info("transformers_imported_whole", reason=str(error))
        for name in [one for one in sys.modules if one.partition(".")[0] == "transformers"]:
            del sys.modules[name]
    finally:
        gc.enable()
        gc.freeze()


@contextmanager
def _without_training() -> Iterator[None]:
    """Have transformers take SciPy and torch's distributed parts for not installed."""
    asked = importlib.import_module("transformers.utils.import_utils")
    answers = {name: (lambda: False) for name in _ABSENT}
    answers[_NAMES] = _names_known(getattr(asked, _NAMES))
    places = [asked, importlib.import_module("transformers.utils")]
    whole = [
        (place, name, vars(place)[name])
        for place in places
        for name in answers
        if name in vars(place)
    ]
    try:
        for place, name, _ in whole:
            setattr(place, name, answers[name])
        yield
    finally:
        for place, name, answer in whole:
            setattr(place, name, answer)


def _names_known(read_names: Callable[..., Any]) -> Callable[..., Any]:
    """Return what names of all models from what transformers has read of their files already."""
    all_models = importlib.import_module("transformers")._import_structure  # noqa: SLF001

    def names(path: Any, prefix: str | None = None) -> Any:
        if prefix is not None or not str(path).endswith("/models/__init__.py"):
            return read_names(path, prefix)
        head = "models."
        return {
            frozenset(): {
                name.removeprefix(head): set(those)
                for name, those in all_models.items()
                if name.startswith(head)
            }
        }

    return names


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Stand in for torch's compiler, which transformers marks functions for that nobody calls."""
    compiler, masks = ModuleType("torch._dynamo"), ModuleType(_MASKS)
    compiler.__path__ = []
    for mark in ("disable", "allow_in_graph", "assume_constant_result"):
        setattr(compiler, mark, _unmarked)
    masks.TransformGetItemToIndex = _index_transform  # type: ignore[attr-defined]
    modules = {compiler.__name__: compiler, masks.__name__: masks}
    if modules.keys() & sys.modules.keys():
        yield
        return
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _unmarked(function: Any = None, *_: Any, **__: Any) -> Any:
    return (lambda later: later) if function is None else function


def _index_transform() -> Any:
    return importlib.import_module(_MASKS).TransformGetItemToIndex()
