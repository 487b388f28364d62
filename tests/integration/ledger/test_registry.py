import random
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.registry.models import record_load, register_model
from fakesweep.schema.ledger.registry.policies import policy_id, rejudge
from fakesweep.schema.ledger.registry.processes import register_worker, retire_worker, workers_seen
from tests.integration.ledger.rows import (
    add_model,
    ask,
    identity,
    record,
    rows,
    run,
    scan,
    take_one,
    tuples,
    value,
)


def _policy(engine: Engine, name: str, wanted: Policy | None = None) -> int:
    with engine.begin() as connection:
        return policy_id(connection, name, wanted)


def _rejudge(engine: Engine, scan_id: int, policy: str) -> int:
    with engine.begin() as connection:
        return rejudge(connection, scan_id, policy)


def test_a_database_is_born_with_two_policies(engine: Engine) -> None:
    assert tuples(engine, "SELECT name, real_below, fake_above, is_current FROM policies") == [
        ("card", 0.5, 0.5, True),
        ("default", 0.2, 0.8, True),
    ]


def test_a_policy_of_the_file_becomes_a_row_once_and_a_new_one_when_it_changes(
    engine: Engine,
) -> None:
    first = _policy(engine, "strict", Policy("strict", 0.1, 1 / 3))
    assert _policy(engine, "strict", Policy("strict", 0.1, 1 / 3)) == first
    assert _policy(engine, "strict") == first
    second = _policy(engine, "strict", Policy("strict", 0.1, 0.4))
    assert second > first
    assert _policy(engine, "strict") == second
    assert tuples(
        engine,
        "SELECT policy_id, fake_above, is_current FROM policies WHERE name = 'strict' "
        "ORDER BY policy_id",
    ) == [(first, 1 / 3, False), (second, 0.4, True)]


def test_a_policy_can_be_set_in_sql(engine: Engine) -> None:
    first = value(engine, "SELECT policy_id FROM policies WHERE name = 'default'")
    run(engine, "SELECT set_policy('default', 0.2, 0.8)")
    assert _policy(engine, "default") == first
    run(engine, "SELECT set_policy('default', 0.1, 0.9)")
    run(engine, "SELECT set_policy('own', 0, 1)")
    assert _policy(engine, "default") > first
    assert tuples(
        engine, "SELECT name, real_below, fake_above FROM policies WHERE is_current ORDER BY 1"
    ) == [("card", 0.5, 0.5), ("default", 0.1, 0.9), ("own", 0.0, 1.0)]
    with pytest.raises(IntegrityError, match="cut_points_in_order"):
        run(engine, "SELECT set_policy('own', 0.9, 0.1)")


def test_an_unknown_policy_is_refused_with_those_there_are(engine: Engine) -> None:
    with pytest.raises(CatalogueError, match="policy 'strickt' is not known; known: card, default"):
        _policy(engine, "strickt")


def test_the_judge_in_sql_says_what_the_policy_says(engine: Engine) -> None:
    numbers = random.Random(3)
    edges = [0.0, 1.0, 0.2, 0.8, 0.5, 0.2 - 2**-55, 0.8 + 2**-53, 5e-324, 1 - 2**-53]
    scores = edges + [numbers.random() for _ in range(200)]
    cuts = [sorted(numbers.choices(scores, k=2)) for _ in range(50)]
    for real_below, fake_above in [*cuts, [0.2, 0.8], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]:
        policy = Policy("any", real_below, fake_above)
        said = tuples(
            engine,
            "SELECT judge(p, :low, :high) "
            "FROM unnest(CAST(:scores AS double precision[])) WITH ORDINALITY AS s (p, n) "
            "ORDER BY n",
            low=real_below,
            high=fake_above,
            scores=scores,
        )
        assert [word for (word,) in said] == [policy.judge(score).value for score in scores]


def test_a_scan_is_judged_again_from_its_stored_scores(engine: Engine) -> None:
    model = add_model(engine)
    numbers = random.Random(5)
    scores = [0.0, 0.2, 0.5, 0.8, 1.0, *(numbers.random() for _ in range(60))]
    uris = {f"s3://photos/{n}": {model: score} for n, score in enumerate(scores)}
    scan_id, _ = scan(engine, uris)
    untouched, _ = scan(engine, {"s3://photos/else": {model: 0.4}})
    default, card = Policy("default", 0.2, 0.8), Policy("card", 0.5, 0.5)
    changed = sum(default.judge(score) != card.judge(score) for score in scores)
    assert _rejudge(engine, scan_id, "card") == changed > 0
    found = rows(engine, "SELECT * FROM verdicts WHERE scan_id = :id", id=scan_id)
    assert len(found) == len(scores)
    for row in found:
        assert row["verdict"] == card.judge(row["p_fake"])
        assert row["policy"] == "card"
        assert (row["kind"] is None) == (row["verdict"] == "real")
    assert tuples(engine, "SELECT policy FROM scan_progress ORDER BY scan_id") == [
        ("card",),
        ("default",),
    ]
    assert value(engine, "SELECT verdict FROM verdicts WHERE scan_id = :i", i=untouched) == (
        "uncertain"
    )
    assert _rejudge(engine, scan_id, "card") == 0
    assert _rejudge(engine, scan_id, "default") == changed


def test_rejudging_what_changed_nothing_leaves_the_time_of_judgement(engine: Engine) -> None:
    scan_id, _ = scan(engine, {"s3://photos/1": {add_model(engine): 0.9}})
    before = value(engine, "SELECT judged_at FROM verdicts")
    assert _rejudge(engine, scan_id, "default") == 0
    assert value(engine, "SELECT judged_at FROM verdicts") == before
    run(engine, "SELECT set_policy('default', 0.1, 0.7)")
    assert _rejudge(engine, scan_id, "default") == 0
    assert value(engine, "SELECT judged_at FROM verdicts") > before


@pytest.mark.parametrize(
    ("scan_id", "policy", "why"),
    [(1, "strickt", "no policy named strickt"), (99, "card", "no scan 99")],
)
def test_rejudging_what_does_not_exist_is_refused(
    engine: Engine, scan_id: int, policy: str, why: str
) -> None:
    scan(engine, {"s3://photos/1": {add_model(engine): 0.9}})
    with pytest.raises(DBAPIError, match=why):
        _rejudge(engine, scan_id, policy)


def test_the_same_scan_rejudged_at_once_comes_out_by_one_policy(engine: Engine) -> None:
    model = add_model(engine)
    scan_id, _ = scan(engine, {f"s3://photos/{n}": {model: n / 200} for n in range(200)})
    policies = ["card", "default"] * 6
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda policy: _rejudge(engine, scan_id, policy), policies))
    assert tuples(engine, "SELECT DISTINCT policy FROM verdicts") == tuples(
        engine, "SELECT policy FROM scan_progress"
    )


def test_a_model_is_one_row_for_each_revision_and_preprocessing(engine: Engine) -> None:
    first = add_model(engine)
    assert add_model(engine) == first
    others = {add_model(engine, revision="r2"), add_model(engine, fingerprint="f2")}
    others.add(add_model(engine, "other"))
    assert len(others | {first}) == 4
    (row,) = rows(engine, "SELECT * FROM models WHERE model_id = :id", id=first)
    expected = identity()
    assert row["model"] == expected.key
    assert row["source"] == expected.source
    assert row["preprocessing"] == expected.preprocessing
    assert row["labels"] == ["real", "fake"]
    assert row["sides"] == ["real", "fake"]
    assert row["sides_origin"] == "names"


def test_a_new_revision_supersedes_the_old_one_of_its_key_alone(engine: Engine) -> None:
    old, other = add_model(engine), add_model(engine, "other")
    new = add_model(engine, revision="r2")

    def current() -> set[int]:
        return {row["model_id"] for row in rows(engine, "SELECT * FROM models WHERE is_current")}

    assert current() == {new, other}
    assert add_model(engine) == old
    assert current() == {old, other}


def test_workers_that_start_with_different_revisions_leave_one_current(engine: Engine) -> None:
    revisions = [f"r{number % 3}" for number in range(24)]

    def start(revision: str) -> None:
        with engine.begin() as connection:
            register_model(connection, identity(revision=revision))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(start, revisions))
    assert tuples(engine, "SELECT count(*), count(*) FILTER (WHERE is_current) FROM models") == [
        (3, 1)
    ]


def _start_worker(engine: Engine) -> UUID:
    worker_id = uuid4()
    with engine.begin() as connection:
        register_worker(connection, worker_id, hostname="h", pid=7, device="cpu", version="0.1")
    return worker_id


def test_a_worker_loads_a_model_once_and_saying_so_again_changes_nothing(engine: Engine) -> None:
    model, other = add_model(engine), add_model(engine, "other")
    for worker in (_start_worker(engine), _start_worker(engine)):
        with engine.begin() as connection:
            record_load(connection, worker, model, 1.5)
            record_load(connection, worker, other, 0.5)
    with engine.begin() as connection:
        record_load(connection, worker, model, 9.9)
    assert value(engine, "SELECT count(*) FROM ledger.model_loads") == 4
    assert value(engine, "SELECT max(seconds) FROM ledger.model_loads") == 1.5


def test_workers_are_seen_until_they_retire_or_fall_silent(engine: Engine) -> None:
    def seen() -> int:
        with engine.connect() as connection:
            return workers_seen(connection, 30.0)

    assert seen() == 0
    retired, silent, _ = (_start_worker(engine) for _ in range(3))
    assert seen() == 3
    with engine.begin() as connection:
        retire_worker(connection, retired)
    assert seen() == 2
    run(
        engine,
        "UPDATE ledger.workers SET seen_at = now() - interval '31 s' WHERE worker_id = :id",
        id=silent,
    )
    assert seen() == 1


def test_a_scan_may_ask_for_a_model_no_worker_has_loaded_yet(engine: Engine) -> None:
    record(engine, ask(engine, models=["owner/new"]), ["s3://photos/1"])
    assert take_one(engine).images[0].uri == "s3://photos/1"
