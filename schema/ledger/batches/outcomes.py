"""Outcomes: statements that look up known scores and store the outcomes of a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from fakesweep.schema.failures import FailureCode
from fakesweep.schema.judging.policies import Policy
from fakesweep.schema.ledger.batches.contents import Content
from fakesweep.schema.ledger.batches.leases import Claim
from fakesweep.schema.ledger.copy import copy_rows
from fakesweep.schema.reasons import reason
from fakesweep.schema.words import ImageStatus, Kind, VerdictWord

_KNOWN = text("""
    SELECT c.sha256, p.model_id, p.p_fake, p.kind
    FROM ledger.contents c JOIN ledger.predictions p USING (content_id)
    WHERE c.sha256 = ANY(:digests) AND p.model_id = ANY(:model_ids)
""")

_FENCE = text("""
    UPDATE ledger.batches
    SET state = 'done', finished_at = now(), lease_until = NULL,
        classified_count = classified_count + :classified,
        reused_count = reused_count + :reused, failed_count = failed_count + :failed,
        refusals = 0, trouble = NULL, troubled_since = NULL, try_at = NULL
    WHERE batch_id = :batch_id AND attempt = :attempt AND worker_id = :worker_id
      AND state <> 'done'
    RETURNING batch_id
""")

# A rejudgement waits for stores that began before it; later stores wait for it.
_LOCK_JUDGING = text("""
    SELECT pg_advisory_xact_lock_shared(hashtext('fakesweep judging'), :scan_id)
""")

_POLICY = text("""
    SELECT p.policy_id, p.name, p.real_below, p.fake_above
    FROM ledger.scans s JOIN ledger.policies p USING (policy_id) WHERE s.scan_id = :scan_id
""")

_CREATE_STAGES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_images (
        image_id bigint, status ledger.image_status, sha256 bytea, size_bytes bigint,
        width integer, height integer, format text, frame_count integer, read_as ledger.read_as,
        failure_code ledger.failure_code, failure_message text
    ) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE IF NOT EXISTS stage_verdicts (
        image_id bigint, sha256 bytea, model_id integer, scores real[],
        p_fake double precision, kind ledger.kind, verdict ledger.verdict
    ) ON COMMIT DELETE ROWS;
"""

_ADD_CONTENTS = text("""
    INSERT INTO ledger.contents
        (sha256, size_bytes, width, height, format, frame_count, read_as)
    SELECT DISTINCT ON (sha256) sha256, size_bytes, width, height, format, frame_count, read_as
    FROM stage_images WHERE sha256 IS NOT NULL ORDER BY sha256, width
    ON CONFLICT (sha256) DO NOTHING
""")

_ADD_DIMENSIONS = text("""
    WITH bare AS (
        SELECT c.content_id, s.width, s.height, s.format, s.frame_count, s.read_as
        FROM stage_images s JOIN ledger.contents c USING (sha256)
        WHERE c.width IS NULL AND s.width IS NOT NULL
        ORDER BY c.content_id FOR UPDATE OF c
    )
    UPDATE ledger.contents c
    SET width = bare.width, height = bare.height, format = bare.format,
        frame_count = bare.frame_count, read_as = bare.read_as
    FROM bare WHERE bare.content_id = c.content_id
""")

_ADD_PREDICTIONS = text("""
    INSERT INTO ledger.predictions (content_id, model_id, scores, p_fake, kind)
    SELECT DISTINCT ON (c.content_id, v.model_id)
           c.content_id, v.model_id, v.scores, v.p_fake, v.kind
    FROM stage_verdicts v JOIN ledger.contents c USING (sha256)
    WHERE v.scores IS NOT NULL ORDER BY c.content_id, v.model_id
    ON CONFLICT (content_id, model_id) DO NOTHING
""")

# Runs before the outcomes are written: an image that has one is in no delivery again.
_ADD_VERDICTS = text("""
    INSERT INTO ledger.verdicts
        (image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind)
    SELECT v.image_id, v.model_id, :scan_id, c.content_id, :policy_id, p.p_fake, said.verdict,
           ledger.kind_told(said.verdict, p.kind)
    FROM stage_verdicts v
    JOIN ledger.contents c USING (sha256)
    LEFT JOIN ledger.predictions p USING (content_id, model_id)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.p_fake = v.p_fake THEN v.verdict
                    ELSE judge(p.p_fake, :real_below, :fake_above) END AS verdict
    ) AS said
    ORDER BY v.image_id, v.model_id
""")

_ADD_OUTCOMES = text("""
    INSERT INTO ledger.outcomes
        (image_id, scan_id, status, content_id, failure_code, failure_message)
    SELECT s.image_id, :scan_id, s.status, c.content_id, s.failure_code, s.failure_message
    FROM stage_images s LEFT JOIN ledger.contents c USING (sha256)
    ORDER BY s.image_id
""")


@dataclass(frozen=True, slots=True)
class KnownScore:
    """A stored score of the same content and model."""

    p_fake: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Judgement:
    """One model's scores for one image.

    `scores` are the probabilities in the order of the model's labels, None where the ledger holds
    them. With `is_repeated` they were computed for a copy of the content, whose rows may not be
    stored yet.
    """

    model_id: int
    p_fake: float
    kind: Kind
    verdict: VerdictWord
    scores: tuple[float, ...] | None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an image has no verdict."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one image: judgements by every model, or a failure.

    A failure of one model stands beside the judgements of the others. `content` is None where the
    bytes could not be fetched.
    """

    image_id: int
    content: Content | None
    judgements: tuple[Judgement, ...] = ()
    failure: Failure | None = None

    def __post_init__(self) -> None:
        """Refuse an outcome that has neither judgement nor failure."""
        if self.failure is None and (self.content is None or not self.judgements):
            raise ValueError(f"image {self.image_id} has neither judgements nor a failure")

    @property
    def status(self) -> ImageStatus:
        """The status: failed, reused where no model had to run, else classified."""
        if self.failure is not None:
            return ImageStatus.FAILED
        if all(one.scores is None or one.is_repeated for one in self.judgements):
            return ImageStatus.REUSED
        return ImageStatus.CLASSIFIED

    def judged_by(self, policy: Policy) -> "Outcome":
        """Return the outcome with verdicts by a policy; scores stay."""
        judgements = tuple(
            replace(one, verdict=policy.judge(one.p_fake)) for one in self.judgements
        )
        return replace(self, judgements=judgements)


def known_scores(
    connection: Connection, digests: Sequence[bytes], model_ids: Sequence[int]
) -> dict[tuple[bytes, int], KnownScore]:
    """Return the stored scores of contents, by SHA-256 and model row."""
    rows = connection.execute(_KNOWN, {"digests": list(digests), "model_ids": list(model_ids)})
    return {
        (bytes(row.sha256), row.model_id): KnownScore(row.p_fake, Kind(row.kind)) for row in rows
    }


def store_outcomes(
    connection: Connection, claim: Claim, worker_id: UUID, outcomes: Sequence[Outcome]
) -> bool:
    """Store every outcome of a batch in the caller's transaction.

    Returns False, with nothing written, where another worker has claimed the batch since. Rows that
    several workers may write go in by key order, which prevents deadlocks. A score stored earlier
    for the same content and model stays, and the verdict follows it. The scan's current policy
    decides the verdicts.
    """
    policy_id, policy = _policy_of(connection, claim)
    if policy != claim.policy:
        outcomes = [outcome.judged_by(policy) for outcome in outcomes]
    counts = dict.fromkeys(ImageStatus, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    held = connection.execute(
        _FENCE,
        {
            "batch_id": claim.batch_id,
            "attempt": claim.attempt,
            "worker_id": worker_id,
            "classified": counts[ImageStatus.CLASSIFIED],
            "reused": counts[ImageStatus.REUSED],
            "failed": counts[ImageStatus.FAILED],
        },
    ).one_or_none()
    if held is None:
        return False
    connection.exec_driver_sql(_CREATE_STAGES)
    copy_rows(connection, "stage_images", (_image_row(outcome) for outcome in outcomes))
    copy_rows(connection, "stage_verdicts", _verdict_rows(outcomes))
    judged_by = {
        "scan_id": claim.scan_id,
        "policy_id": policy_id,
        "real_below": policy.real_below,
        "fake_above": policy.fake_above,
    }
    contents = {outcome.content.sha256 for outcome in outcomes if outcome.content}
    if connection.execute(_ADD_CONTENTS).rowcount < len(contents):
        connection.execute(_ADD_DIMENSIONS)
    connection.execute(_ADD_PREDICTIONS)
    connection.execute(_ADD_VERDICTS, judged_by)
    connection.execute(_ADD_OUTCOMES, {"scan_id": claim.scan_id})
    return True


def _policy_of(connection: Connection, claim: Claim) -> tuple[int, Policy]:
    """Return a scan's policy, locked until the transaction ends."""
    wanted = {"scan_id": claim.scan_id}
    connection.execute(_LOCK_JUDGING, wanted)
    row = connection.execute(_POLICY, wanted).one_or_none()
    if row is None:  # the scan is deleted with its batches; the fence refuses the store
        return claim.policy_id, claim.policy
    return row.policy_id, Policy(row.name, row.real_below, row.fake_above)


def _image_row(outcome: Outcome) -> tuple[Any, ...]:
    content, failure = outcome.content, outcome.failure
    return (
        outcome.image_id,
        outcome.status.value,
        *(
            (
                _bytea(content.sha256),
                content.size_bytes,
                content.width,
                content.height,
                content.format,
                content.frame_count,
                content.read_as and content.read_as.value,
            )
            if content
            else (None,) * 7
        ),
        failure.code.value if failure else None,
        reason(failure.message) if failure else None,
    )


def _verdict_rows(outcomes: Iterable[Outcome]) -> Iterable[tuple[Any, ...]]:
    for outcome in outcomes:
        if outcome.content is None:
            continue
        digest = _bytea(outcome.content.sha256)
        for one in outcome.judgements:
            scores = None
            if one.scores is not None:
                scores = "{" + ",".join(repr(float(score)) for score in one.scores) + "}"
            yield (
                outcome.image_id,
                digest,
                one.model_id,
                scores,
                repr(float(one.p_fake)),
                one.kind.value,
                one.verdict.value,
            )


def _bytea(digest: bytes) -> str:
    return "\\x" + digest.hex()
