from enum import StrEnum

import pytest
from sqlalchemy import Engine

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.labels import Side
from fakesweep.schema.ledger.schedules.schedules import ScheduleOutcome
from fakesweep.schema.words import BatchState, Change, ImageStatus, Kind, Lane, ReadAs, VerdictWord
from tests.integration.ledger.rows import add_model, tuples

TYPES: dict[str, type[StrEnum]] = {
    "lane": Lane,
    "batch_state": BatchState,
    "image_status": ImageStatus,
    "verdict": VerdictWord,
    "kind": Kind,
    "failure_code": FailureCode,
    "change": Change,
    "read_as": ReadAs,
    "schedule_outcome": ScheduleOutcome,
}


@pytest.mark.parametrize("name", TYPES)
def test_code_and_tables_use_the_same_words(engine: Engine, name: str) -> None:
    words = tuples(
        engine,
        "SELECT enumlabel FROM pg_enum JOIN pg_type t ON t.oid = enumtypid "
        "WHERE typname = :name ORDER BY enumsortorder",
        name=name,
    )
    assert [word for (word,) in words] == [word.value for word in TYPES[name]]


def test_every_type_of_words_is_one_of_these(engine: Engine) -> None:
    found = tuples(
        engine,
        "SELECT typname FROM pg_type WHERE typnamespace = 'ledger'::regnamespace AND typtype = 'e'",
    )
    assert {name for (name,) in found} == set(TYPES)


def test_sides_are_stored_as_the_words_of_the_catalogue(engine: Engine) -> None:
    add_model(engine, names=("Real", "AI", "Deepfake", "Fake"))
    assert tuples(engine, "SELECT sides FROM models") == [([side.value for side in Side],)]
