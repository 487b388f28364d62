"""Fast import of transformers' image classifiers, without modules for training and text generation.

It omits torch's compiler, distributed tensors and SciPy, two thirds of the time. Transformers
treats the last two as not installed; the compiler is imported at the first compilation. The
omissions are permanent in the process, so only our own processes use this, never a caller's.
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
_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
_MASKS = "torch._dynamo._trace_wrapped_higher_order_op"
_SHARED = (
    "transformers.modeling_layers",
    "transformers.modeling_utils",
    "transformers.masking_utils",
    "transformers.image_processing_backends",
)
"""Modules shared by all models and processors."""

_log = structlog.get_logger(__name__)


def import_quickly() -> None:
    """Import torch and transformers' shared modules; no effect if transformers is loaded.

    An unknown version of transformers is imported whole at its first use.
    """
    if "transformers" in sys.modules:
        return
    gc.disable()  # saves a third of a second of collections
    try:
        importlib.import_module("torch")
        with _without_compiler(), _without_training():
            for name in _SHARED:
                importlib.import_module(name)
        _put_off_symbols()
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
    """Return a lookup of all models' names in the structure that transformers has already read."""
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
    """Replace torch's compiler by a stub; transformers only decorates unused functions with it."""
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


class _Symbols(ModuleType):
    """Stands in for torch's symbolic shapes, which bring SymPy, until one of them is needed."""

    def expect_true(self, condition: Any) -> Any:
        """Return the truth of a condition; building a network asks for plain ones alone."""
        return condition if isinstance(condition, bool) else self.whole().expect_true(condition)

    def is_nested_int(self, size: Any) -> Any:
        """Return whether a size stands for many, which no plain number does."""
        return not isinstance(size, int) and self.whole().is_nested_int(size)

    def whole(self) -> Any:
        """Import the real module."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole(), name)


def _put_off_symbols() -> None:
    if _SYMBOLS not in sys.modules:
        package, _, name = _SYMBOLS.rpartition(".")
        sys.modules[_SYMBOLS] = _Symbols(_SYMBOLS)
        setattr(sys.modules[package], name, sys.modules[_SYMBOLS])


def _unmarked(function: Any = None, *_: Any, **__: Any) -> Any:
    return (lambda later: later) if function is None else function


def _index_transform() -> Any:
    return importlib.import_module(_MASKS).TransformGetItemToIndex()
