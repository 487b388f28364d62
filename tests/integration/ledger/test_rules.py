"""Rules that two places implement agree on generated cases."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from fakesweep.schema.errors import ScanError
from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.leases import Claim
from fakesweep.schema.ledger.batches.recovery import requeue_expired
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.registry.processes import register_worker, seen_on, workers_seen
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.ledger.reports.scan_workers import scan_workers
from fakesweep.schema.ledger.reports.stalls import movement
from fakesweep.schema.ledger.reports.workers import live_workers
from fakesweep.schema.ledger.scans import control
from fakesweep.schema.ledger.webhooks.webhooks import add_webhook
from fakesweep.schema.message import BatchMessage
from fakesweep.schema.words import Event, Kind, Lane, ScanState, VerdictWord
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claim,
    content_of,
    end,
    failed,
    judged,
    record,
    rows,
    run,
    store,
    take,
    tuples,
    value,
)

ALIKE = """
    scan_id, image_id, model_id, uri, path, status, verdict, kind, p_fake, model, model_revision,
    revision_is_current, policy, scores, content_id, sha256, size_bytes, width, height, format,
    frame_count, read_as, classified_at, judged_at
"""
FAILED_ALIKE = "scan_id, image_id, uri, path, failure_code, failure_message, content_id, sha256"
NEVER = {
    "pending images are counted alike": """
        SELECT p.scan_id FROM scan_progress p WHERE p.pending <> ALL (ARRAY[
            (SELECT count(*) FROM images i WHERE i.scan_id = p.scan_id AND i.status = 'pending'),
            (SELECT count(*) FROM ledger.pending i WHERE i.scan_id = p.scan_id),
            (SELECT coalesce(sum(b.pending), 0) FROM batches b WHERE b.scan_id = p.scan_id)])
        OR p.pending <> p.submitted - p.classified - p.reused - p.failed
    """,
    "a finished scan was listed, and all its batches are done": """
        SELECT p.scan_id FROM scan_progress p WHERE (p.state = 'finished') <> (
            p.listed_at IS NOT NULL AND p.state <> 'cancelled' AND NOT EXISTS (
                SELECT FROM batches b WHERE b.scan_id = p.scan_id AND b.state <> 'done'))
    """,
    "a batch is done where none of its images is pending": """
        SELECT batch_id FROM batches WHERE (state = 'done') <> (pending = 0)
    """,
    "what nobody works on is held while its scan is": """
        SELECT b.batch_id FROM ledger.batches b JOIN ledger.scans s USING (scan_id)
        WHERE CASE WHEN ledger.is_held(s.paused_at, s.cancelled_at)
                   THEN b.state IN ('recorded', 'published', 'set_aside')
                   ELSE b.state = 'held' END
    """,
    "a result is told alike as a verdict": f"""
        (SELECT {ALIKE} FROM results WHERE model_id IS NOT NULL
         EXCEPT SELECT {ALIKE} FROM verdicts)
        UNION ALL
        (SELECT {ALIKE} FROM verdicts
         EXCEPT SELECT {ALIKE} FROM results WHERE model_id IS NOT NULL)
    """,
    "a result is told alike as a failure": f"""
        (SELECT {FAILED_ALIKE} FROM results WHERE status = 'failed'
         EXCEPT SELECT {FAILED_ALIKE} FROM failures)
        UNION ALL
        (SELECT {FAILED_ALIKE} FROM failures
         EXCEPT SELECT {FAILED_ALIKE} FROM results WHERE status = 'failed')
    """,
    "what is superseded has a newer verdict": """
        SELECT v.image_id FROM ledger.verdicts v WHERE v.is_superseded AND NOT EXISTS (
            SELECT FROM ledger.verdicts n WHERE n.content_id = v.content_id
              AND n.model_id = v.model_id AND n.image_id > v.image_id)
    """,
    "people look at the newest verdict of a content, unless it is real": """
        (SELECT image_id, model_id FROM review_queue WHERE failure_code IS NULL
         EXCEPT SELECT image_id, model_id FROM {newest})
        UNION ALL
        (SELECT image_id, model_id FROM {newest}
         EXCEPT SELECT image_id, model_id FROM review_queue)
    """.format(
        newest="""(
            SELECT DISTINCT ON (content_id, model_id) image_id, model_id, verdict
            FROM ledger.verdicts ORDER BY content_id, model_id, image_id DESC
        ) AS x WHERE verdict <> 'real'"""
    ),
}
"""Queries that find violations, by rule."""

SCORES = {"a": 0.9, "b": 0.5, "c": 0.1}


class World:
    """Two scans of a few contents, and a worker."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.model = add_model(engine)
        self.scans = [ask(engine), ask(engine, lane=Lane.LIVE)]
        self.messages: list[BatchMessage] = []
        self.claims: list[tuple[BatchMessage, Claim]] = []

    def record(self, scan: int) -> None:
        uris = [f"s3://rules/{uuid4()}/{name}" for name in SCORES]
        with suppress(AssertionError):  # it is paused or cancelled
            record(self.engine, scan, uris)

    def end(self, scan: int) -> None:
        end(self.engine, scan)

    def take(self, _: int) -> None:
        for lane in Lane:
            self.messages += take(self.engine, lane)

    def claim(self, _: int) -> None:
        if self.messages:
            message = self.messages.pop()
            if found := claim(self.engine, message.batch_id):
                self.claims.append((message, found))

    def store(self, _: int) -> None:
        self._answer(lambda held, image: judged(held, image, *self._content(image.uri)))

    def fail(self, _: int) -> None:
        self._answer(lambda _, image: failed(image))

    def expire(self, _: int) -> None:
        run(
            self.engine,
            "UPDATE ledger.batches SET lease_until = now() - interval '1 s' "
            "WHERE state = 'running'",
        )
        with self.engine.begin() as connection:
            requeue_expired(connection)

    def pause(self, scan: int) -> None:
        self._steer(control.pause_scan, scan)

    def resume(self, scan: int) -> None:
        self._steer(control.resume_scan, scan)

    def cancel(self, scan: int) -> None:
        self._steer(control.cancel_scan, scan)

    def retry(self, scan: int) -> None:
        with suppress(ScanError), self.engine.begin() as connection:
            moment = control.begin_retry(connection, scan)
            control.retry_failures(connection, scan, list(FailureCode), 2, moment)

    def _content(self, uri: str) -> tuple[Any, dict[int, float]]:
        name = uri.rpartition("/")[2]
        return content_of(name), {self.model: SCORES[name]}

    def _answer(self, outcome: Callable[[Claim, Any], Any]) -> None:
        if self.claims:
            message, held = self.claims.pop(0)
            store(self.engine, held, [outcome(held, image) for image in message.images])

    def _steer(self, steer: Callable[[Connection, int], bool], scan: int) -> None:
        with suppress(ScanError), self.engine.begin() as connection:
            steer(connection, scan)

    def see(self) -> None:
        for rule, query in NEVER.items():
            assert tuples(self.engine, query) == [], rule
        found = tuples(self.engine, "SELECT state, has_ended FROM scan_progress")
        assert all(ScanState(state).is_last == has_ended for state, has_ended in found)


STEPS = ["record", "record", "end", "take", "claim", "store", "store", "fail", "expire", "pause",
         "resume", "cancel", "retry"]  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1)), max_size=20))
def test_what_several_places_say_of_scans_agrees_whatever_happens(
    engine: Engine, steps: Sequence[tuple[str, int]]
) -> None:
    world = World(engine)
    for scan in world.scans:
        world.record(scan)
    world.take(0)
    for step, scan in steps:
        getattr(world, step)(world.scans[scan])
        world.see()


INLINED = {
    "is_held": "FROM ledger.scans x WHERE ledger.is_held(x.paused_at, x.cancelled_at)",
    "ended_of": "FROM ledger.batches x WHERE ledger.ended_of(x) > 0",
    "pending_of": "FROM ledger.batches x WHERE ledger.pending_of(x) > 0",
    "is_expired": "FROM ledger.batches x WHERE ledger.is_expired(x)",
    "kind_told": "FROM ledger.verdicts x WHERE ledger.kind_told(x.verdict, x.kind) IS NULL",
    "wants": "FROM ledger.webhooks x WHERE ledger.wants(x, ARRAY[x.name], 'live')",
    "is_open": "FROM ledger.webhook_deliveries x WHERE ledger.is_open(x)",
    "next_try": "FROM ledger.outputs x WHERE ledger.next_try(x.troubled_since, '1 h') > now()",
    "judge": "FROM ledger.verdicts x WHERE judge(x.p_fake, 0.1, 0.9) = 'fake'",
}


@pytest.mark.parametrize("name", INLINED)
def test_a_rule_of_one_expression_is_inlined(engine: Engine, name: str) -> None:
    plan = "\n".join(one for (one,) in tuples(engine, f"EXPLAIN VERBOSE SELECT {INLINED[name]}"))
    assert f"{name}(" not in plan


CUTS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CUTS, st.floats(0, 1), st.data())
def test_sql_and_python_judge_alike(
    engine: Engine, cuts: Sequence[float], p_fake: float, data: st.DataObject
) -> None:
    score = data.draw(st.sampled_from([p_fake, *cuts]))
    word = Policy("any", *cuts).judge(score)
    said = value(engine, "SELECT judge(:p, :low, :high)", p=score, low=cuts[0], high=cuts[1])
    assert said == word.value


@pytest.mark.parametrize("word", VerdictWord)
@pytest.mark.parametrize("kind", Kind)
def test_what_is_real_is_of_no_kind(engine: Engine, word: VerdictWord, kind: Kind) -> None:
    said = "SELECT ledger.kind_told(CAST(:word AS ledger.verdict), CAST(:kind AS ledger.kind))"
    told = value(engine, said, word=word.value, kind=kind.value)
    assert told == (None if word is VerdictWord.REAL else kind.value)


POLICIES = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from([(0.1, 0.9), (0.2, 0.8), (0.0, 1.0)]),
    st.booleans(),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(POLICIES, max_size=8))
def test_a_policy_gets_a_row_where_it_differs_from_the_newest_of_its_name(
    engine: Engine, changes: Sequence[tuple[str, tuple[float, float], bool]]
) -> None:
    run(engine, "DELETE FROM ledger.policies WHERE policy_id > 2")
    expected: dict[str, list[tuple[float, float]]] = {}
    for name, cuts, in_sql in changes:
        history = expected.setdefault(name, [])
        if history[-1:] != [cuts]:
            history.append(cuts)
        if in_sql:
            run(
                engine,
                "SELECT set_policy(:name, :low, :high)",
                name=name,
                low=cuts[0],
                high=cuts[1],
            )
        else:
            with engine.begin() as connection:
                policy_id(connection, name, Policy(name, *cuts))
        with engine.connect() as connection:
            current = policy_id(connection, name, None)
        newest = rows(engine, "SELECT * FROM policies WHERE name = :n AND is_current", n=name)
        assert [one["policy_id"] for one in newest] == [current]
    found: dict[str, list[tuple[float, float]]] = {}
    for name, low, high in tuples(
        engine,
        "SELECT name, real_below, fake_above FROM policies WHERE policy_id > 2 ORDER BY policy_id",
    ):
        found.setdefault(name, []).append((low, high))
    assert found == expected


KEYS = st.lists(st.sampled_from(["tiny", "other"]), min_size=1, unique=True)
LANES = st.lists(st.sampled_from([Lane.LIVE, Lane.BULK]), min_size=1, unique=True)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.none() | KEYS, st.none() | LANES, st.booleans(), st.data())
def test_a_webhook_is_told_of_the_models_and_lanes_that_it_asks_for(
    engine: Engine,
    models: Sequence[str] | None,
    lanes: Sequence[Lane] | None,
    is_removed: bool,
    data: st.DataObject,
) -> None:
    keys, lane = data.draw(KEYS), data.draw(st.sampled_from(Lane))
    run(engine, "DELETE FROM ledger.webhooks")
    with engine.begin() as connection:
        add_webhook(
            connection, name="any", url="https://example.org/", secret="whsec_hush",
            verdicts=[], events=[Event.SCAN_ENDED], models=models or (), lanes=lanes or (),
        )  # fmt: skip
    if is_removed:
        run(engine, "UPDATE ledger.webhooks SET removed_at = now()")
    said = value(
        engine,
        "SELECT ledger.wants(w, :keys, CAST(:lane AS ledger.lane)) FROM ledger.webhooks w",
        keys=list(keys),
        lane=lane.value,
    )
    asked = not is_removed and (models is None or bool(set(models) & set(keys)))
    assert said == (asked and (lanes is None or lane in lanes))


def test_a_worker_that_told_of_its_work_is_live_in_every_answer(engine: Engine) -> None:
    worker_id, scan_id = uuid4(), ask(engine)
    with engine.begin() as connection:
        register_worker(connection, worker_id, hostname="h", pid=7, device="cpu", version="0")
    record(engine, scan_id, ["s3://photos/1"])
    (message,) = take(engine)
    assert claim(engine, message.batch_id, worker_id)
    run(
        engine,
        "UPDATE ledger.workers SET seen_at = now() - interval '1 hour', stages_at = now();"
        "INSERT INTO ledger.model_troubles (worker_id, key, reason, tries) "
        "SELECT worker_id, 'tiny', 'gone', 1 FROM ledger.workers",
    )
    with engine.begin() as connection:
        assert requeue_expired(connection).batches == 0
        assert workers_seen(connection, 15) == 1
        assert seen_on(connection, "h", 15) == [(worker_id, 7)]
        assert len(live_workers(connection, 15)) == 1
        assert movement(connection, scan_id, within_seconds=15).workers == 1
        assert scan_workers(connection, progress(connection, scan_id), within_seconds=15) == 1
    assert value(engine, "SELECT count(*) FROM model_troubles") == 1
