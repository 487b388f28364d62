"""Checks of a checkpoint's configuration: no code, no absurd sizes, no other library."""

from collections.abc import Iterator
from typing import Any

from fakesweep.schema.errors import ModelError

LARGEST_NUMBER = 1_000_000
MOST_LAYERS = 1_000
MOST_CLASSES = 1_000

_REMOTE_CODE = {
    "AutoConfig", "AutoFeatureExtractor", "AutoImageProcessor", "AutoModelForImageClassification",
    "AutoProcessor",
}  # fmt: skip
_ATTENTION = {None, "eager", "sdpa"}
_DEPTHS = ("depth", "layers")


def refuse_unfit(key: str, name: str, content: dict[str, Any]) -> None:
    """Refuse forbidden entries in a JSON file of a checkpoint.

    Raises:
        ModelError: the file names code to run, or a size that no classifier has.
    """
    for word, value in _entries(content):
        _refuse_code(key, name, word, value)
        _refuse_size(key, name, word, value)
    labels = content.get("id2label")
    if isinstance(labels, dict) and len(labels) > MOST_CLASSES:
        raise _too_large(key, name, "id2label", len(labels), MOST_CLASSES)


def refuse_unknown_architecture(key: str, config: dict[str, Any]) -> None:
    """Refuse configurations of libraries other than transformers.

    Raises:
        ModelError: the message names the probable library.
    """
    if isinstance(config.get("model_type"), str):
        return
    if "architecture" in config or "pretrained_cfg" in config:
        raise ModelError(
            f"model {key!r} is a checkpoint of timm, by its config.json; only those that "
            f"transformers' save_pretrained wrote are read, so load it there and save it again"
        )
    raise ModelError(
        f"model {key!r}: its config.json names no model_type, so its architecture is not known"
    )


def _entries(content: Any, word: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a nested configuration with its name."""
    left = [(word, content)]
    while left:
        word, content = left.pop()
        yield word, content
        if isinstance(content, dict):
            left.extend((str(inner), value) for inner, value in content.items())
        elif isinstance(content, list):
            left.extend((word, value) for value in content)


def _refuse_code(key: str, name: str, word: str, value: Any) -> None:
    wanted = ""
    if word == "auto_map" and isinstance(value, dict):
        wanted = ", ".join(sorted(_REMOTE_CODE & set(value)))
    elif word == "trust_remote_code" and value:
        wanted = word
    elif word.endswith(("attn_implementation", "experts_implementation")):
        asked = set(value.values()) if isinstance(value, dict) else {value}
        wanted = ", ".join(sorted(str(one)[:80] for one in asked - _ATTENTION))
    if wanted:
        raise ModelError(
            f"model {key!r} comes with Python code of its own ({wanted}), which is never run here "
            f"({word} in its {name}); use a checkpoint of an architecture that transformers knows"
        )


def _refuse_size(key: str, name: str, word: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    limit = LARGEST_NUMBER
    if word == "num_labels":
        limit = MOST_CLASSES
    elif any(part in word for part in _DEPTHS):
        limit = MOST_LAYERS
    if abs(value) > limit:
        raise _too_large(key, name, word, value, limit)


def _too_large(key: str, name: str, word: str, found: float, limit: int) -> ModelError:
    return ModelError(f"model {key!r}: {word} in its {name} is {found:g}, more than {limit}")
