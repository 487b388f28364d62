"""Building blocks of the schemas: JSON types, closed objects, dataclasses."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from fakesweep.schema.judging.labels import Side
from fakesweep.schema.words import Kind, VerdictWord

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
PROBABILITY: Schema = {
    "type": "number", "minimum": 0, "maximum": 1,
    "description": "With seven decimals at most",
}  # fmt: skip


def words(closed: type[StrEnum] | Iterable[str]) -> Schema:
    """Return the type of a word from a closed set."""
    return {"enum": [str(word) for word in closed]}


VERDICT = words(VerdictWord)
KIND = words(Kind)
SIDE = words(Side)


def array(items: Schema) -> Schema:
    """Return the type of a list."""
    return {"type": "array", "items": items}


def mapping(values: Schema, keys: Schema | None = None) -> Schema:
    """Return the type of an object with arbitrary keys."""
    by_key = {} if keys is None else {"propertyNames": keys}
    return {"type": "object", "additionalProperties": values} | by_key


def nullable(one: Schema) -> Schema:
    """Return a type that also allows null."""
    return {"anyOf": [one, {"type": "null"}]}


def record(fields: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Return the type of an object with these fields and no others, each required or optional."""
    left_out = set(optional)
    return {
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in left_out],
        "additionalProperties": False,
    }


def extended(base: Schema, more: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Return a record type with further fields."""
    left_out = {name for name in base["properties"] if name not in base["required"]}
    return record({**base["properties"], **more}, left_out | set(optional))


def shape_of(kind: type) -> Schema:
    """Return the type of a dataclass, as `asdict` and `write_json` write it."""
    made = TypeAdapter(kind).json_schema(mode="serialization")
    closed: Schema = _closed(_inlined(made, made.pop("$defs", {})))
    return closed


def scores() -> Schema:
    """Return the type of a model's probabilities by its own labels."""
    return mapping(PROBABILITY)


def _inlined(made: Any, known: Mapping[str, Any]) -> Any:
    match made:
        case {"$ref": str(reference)}:
            return _inlined(known[reference.rpartition("/")[2]], known)
        case dict():
            return {key: _inlined(one, known) for key, one in made.items()}
        case list():
            return [_inlined(one, known) for one in made]
        case _:
            return made


def _closed(made: Any) -> Any:
    """Return a schema whose objects require all fields and allow no others, without titles."""
    match made:
        case {"properties": dict(properties)}:
            return record({name: _closed(one) for name, one in properties.items()})
        case dict():
            skipped = {"title", "default", "description"}
            return {key: _closed(one) for key, one in made.items() if key not in skipped}
        case list():
            return [_closed(one) for one in made]
        case _:
            return made
