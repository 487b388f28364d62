"""Queries of the scale benchmark: those of docs/sql.md, each public view, and status."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.scale_rows import PlannedScan

GOAL_MS = 20.0
"""Goal of interactive queries: the review queue, a history, progress, flagged images."""

MEME_P_FAKE = 0.97

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the parameters of each run; `goal_ms` is None without a goal."""

    name: str
    sql: str
    asked: Sequence[Parameters]
    goal_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of the loaded ledger that serve as parameters."""

    uris: Sequence[str]
    failed_uris: Sequence[str]
    digests: Sequence[str]
    flagged: Sequence[tuple[float, int, int]]


_URIS = text("SELECT uri FROM ledger.images WHERE image_id = ANY(:ids) ORDER BY image_id")

_FAILED = text("SELECT uri FROM failures WHERE image_id = ANY(:ids) ORDER BY image_id")

_DIGESTS = text("""
    SELECT encode(sha256, 'hex') FROM ledger.contents WHERE content_id = ANY(:ids)
    ORDER BY content_id
""")

_FLAGGED = text("""
    SELECT p_fake, image_id, model_id FROM ledger.verdicts
    WHERE verdict <> 'real' AND image_id = ANY(:ids) AND p_fake <> :meme ORDER BY image_id, model_id
""")


def samples(connection: Connection, scans: Sequence[PlannedScan], runs: int) -> Samples:
    """Draw the parameters; deterministic."""
    draw = random.Random(7)
    archive = scans[0].images

    def numbers(count: int, step: int = 1, rest: int = 0) -> list[int]:
        return [draw.randrange(1, archive // step) * step + rest for _ in range(count)]

    ids = numbers(runs * 60)
    found = connection.execute(_FLAGGED, {"ids": ids, "meme": MEME_P_FAKE}).all()
    return Samples(
        list(connection.execute(_URIS, {"ids": numbers(runs)}).scalars()),
        list(connection.execute(_FAILED, {"ids": numbers(runs, 100, 7)}).scalars()),
        list(connection.execute(_DIGESTS, {"ids": numbers(runs, 5, 1)}).scalars()),
        [tuple(row) for row in found[:runs]],
    )


def questions(
    found: Samples, scans: Sequence[PlannedScan], runs: int, few: int
) -> Sequence[Question]:
    """Return every query; those over whole scans have few runs."""
    archive, photographs, uploads = scans[:3]
    small = [{"scan": scan.scan_id} for scan in scans[3:-1]][:runs]
    bounds = [0.8001 + 0.198 * n / runs for n in range(runs)]
    pages: Callable[[Sequence[float], int], list[Parameters]] = lambda p_fakes, scan: [  # noqa: E731
        {"p_fake": p_fake, "scan": scan} for p_fake in p_fakes
    ]
    uris = [{"uri": uri} for uri in found.uris]
    one: list[Parameters] = [{"scan": archive.scan_id}]
    audit: list[Parameters] = [{"scan": scans[-2].scan_id}]
    large = one * few
    return [
        Question("review queue, first page", _QUEUE.format(where=""), [{}] * runs, GOAL_MS),
        Question(
            "review queue, next page",
            _QUEUE.format(where="AND (p_fake, image_id, model_id) < (:p, :i, :m)"),
            [{"p": p, "i": image, "m": model} for p, image, model in found.flagged],
            GOAL_MS,
        ),
        Question(
            "review queue, the page behind a meme's copies",
            _QUEUE.format(where="AND (p_fake, image_id, model_id) < (:p, :i, :m)"),
            [{"p": MEME_P_FAKE + 1e-6 * n, "i": 1, "m": 1} for n in range(1, runs + 1)],
            GOAL_MS,
        ),
        Question("history of an address", _HISTORY, uris, GOAL_MS),
        Question(
            "history of an address that failed",
            _HISTORY,
            [{"uri": uri} for uri in found.failed_uris],
            GOAL_MS,
        ),
        Question("progress of the archive's scan", _PROGRESS, one * runs, GOAL_MS),
        Question(
            "progress of a stream of tiny batches",
            _PROGRESS,
            [{"scan": uploads.scan_id}] * runs,
            GOAL_MS,
        ),
        Question("progress of small scans", _PROGRESS, small, GOAL_MS),
        Question("progress of the newest 20 scans", _NEWEST, [{}] * runs, GOAL_MS),
        Question("progress of what has not ended", _UNENDED, [{}] * runs, GOAL_MS),
        Question("flagged in the archive, first page", _FLAGGED_PAGE.format(below=""),
                 pages(bounds, archive.scan_id), GOAL_MS),
        Question("flagged in the archive, next page",
                 _FLAGGED_PAGE.format(below="AND p_fake < 0.995"),
                 pages(bounds, archive.scan_id), GOAL_MS),
        Question("flagged in the photographs, by two models", _FLAGGED_PAGE.format(below=""),
                 pages(bounds, photographs.scan_id), GOAL_MS),
        Question("flagged in a small scan", _FLAGGED_PAGE.format(below=""),
                 [{"p_fake": 0.8, **scan} for scan in small], GOAL_MS),
        Question("addresses of a content, by its digest", _BY_DIGEST,
                 [{"sha256": digest} for digest in found.digests]),
        Question("addresses of a content, by one of them", _BY_ADDRESS, uris),
        Question("failures of a small scan", "SELECT * FROM failures WHERE scan_id = :scan", small),
        Question("failures of the archive, a page of one code", _FAILURES_PAGE, one * runs),
        Question("an audit's changes", _CHANGES, audit * runs),
        Question("an audit's images, a page", _IMAGES, audit * runs),
        Question("schedules, and what is next", _SCHEDULES, [{}] * runs),
        Question("what became of schedules, the newest 20", _SCHEDULE_RUNS, [{}] * runs),
        Question("outputs that are not complete", _OUTPUTS, [{}] * runs),
        Question("deliveries that are dead, a page", _DEAD, [{}] * runs),
        Question("disagreements of the photographs, the widest 100", _DISAGREEMENTS,
                 [{"scan": photographs.scan_id}] * few),
        Question("every flagged image of the archive", _FLAGGED_ALL, large),
        Question("flagged in a day of the archive, by prefix", _PREFIX,
                 [{"like": f"s3://archive/2025/{month:02}/15/%"} for month in range(8, 8 + few)]),
        Question("verdicts of the archive, counted", _COUNTED, large),
        Question("failures of the archive, counted", _FAILURES_COUNTED, large),
        Question("another policy for the archive, counted", _WHAT_IF, large),
        Question("contents seen most often in the archive", _MOST_SEEN, large),
        Question("verdicts of superseded models, counted", _SUPERSEDED, [{}] * few),
        Question("every verdict by model and word", _EVERYTHING, [{}] * few),
        Question("review queue, counted", "SELECT count(*) FROM review_queue", [{}] * few),
        Question("an audit's images, counted", _IMAGES_COUNTED, audit * few),
        Question("the archive as an audit saw it, what is flagged", _IMAGES_FLAGGED, audit * few),
        Question("a model's own number, in a small scan", _SCORES, small),
        Question("a model's own number, in the archive", _SCORES, large),
        Question("webhook deliveries, counted by state", _DELIVERIES, [{}] * few),
        Question("status: verdicts of the archive", _STATUS_VERDICTS, large),
        Question("status: verdicts of a small scan", _STATUS_VERDICTS, small),
    ]  # fmt: skip


def of_views(connection: Connection, asked: Sequence[Question], runs: int) -> list[Question]:
    """Return queries for the first rows of the public views without another query."""
    views = connection.exec_driver_sql(
        "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY viewname"
    ).scalars()
    said = " ".join(one.sql for one in asked)
    return [
        Question(f"{view}, its first 100", f"SELECT * FROM {view} LIMIT 100", [{}] * runs)
        for view in views
        if f" {view}" not in said
    ]


_QUEUE = """
    SELECT p_fake, image_id, model_id, uri, verdict, kind, model, sha256
    FROM review_queue WHERE p_fake IS NOT NULL {where}
    ORDER BY p_fake DESC, image_id DESC, model_id DESC LIMIT 50
"""

_HISTORY = """
    SELECT judged_at AS at, scan_id, status, model, model_revision, verdict, p_fake, sha256,
           NULL AS failure
    FROM verdicts WHERE uri = :uri
    UNION ALL
    SELECT failed_at, scan_id, 'failed', NULL, NULL, NULL, NULL, sha256, code || ': ' || message
    FROM failures WHERE uri = :uri
    ORDER BY at
"""

_PROGRESS = "SELECT * FROM scan_progress WHERE scan_id = :scan"

_NEWEST = "SELECT * FROM scan_progress ORDER BY scan_id DESC LIMIT 20"

_UNENDED = """
    SELECT scan_id, name, state, submitted, classified, reused, failed, pending,
           images_per_second, seconds_left
    FROM scan_progress WHERE state NOT IN ('finished', 'cancelled')
"""

_FLAGGED_PAGE = """
    SELECT uri, p_fake, kind, model, size_bytes, width, height
    FROM verdicts WHERE scan_id = :scan AND p_fake > :p_fake {below}
    ORDER BY p_fake DESC LIMIT 50
"""

_FLAGGED_ALL = """
    SELECT uri, p_fake, kind, model, size_bytes, width, height
    FROM verdicts WHERE scan_id = :scan AND p_fake > 0.9 ORDER BY p_fake DESC
"""

_PREFIX = "SELECT uri, verdict, p_fake FROM verdicts WHERE uri LIKE :like AND verdict <> 'real'"

_BY_DIGEST = "SELECT DISTINCT uri, scan_id FROM verdicts WHERE content_id = content_id_of(:sha256)"

_BY_ADDRESS = """
    SELECT DISTINCT uri, scan_id FROM verdicts
    WHERE content_id = ANY (ARRAY(SELECT content_id FROM verdicts WHERE uri = :uri))
"""

_FAILURES_PAGE = """
    SELECT uri, message, size_bytes, sha256 FROM failures
    WHERE scan_id = :scan AND code IN ('corrupt', 'not_an_image') LIMIT 50
"""

_CHANGES = """
    SELECT change, uri, size_bytes, modified_at FROM audit_changes
    WHERE scan_id = :scan AND change <> 'again'
"""

_IMAGES = "SELECT * FROM audit_images WHERE scan_id = :scan LIMIT 100"

_IMAGES_COUNTED = """
    SELECT judged_in_scan, count(*) FROM audit_images WHERE scan_id = :scan GROUP BY judged_in_scan
"""

_IMAGES_FLAGGED = """
    SELECT i.uri, v.verdict, v.p_fake, i.judged_in_scan
    FROM audit_images i JOIN verdicts v USING (image_id)
    WHERE i.scan_id = :scan AND v.verdict <> 'real'
"""

_SCHEDULES = """
    SELECT name, state, next_at, last_due_at, last_outcome, last_scan_id
    FROM schedules WHERE state <> 'removed'
"""

_SCHEDULE_RUNS = """
    SELECT schedule, due_at, outcome, scan_id, reason
    FROM schedule_runs ORDER BY due_at DESC LIMIT 20
"""

_OUTPUTS = """
    SELECT scan_id, destination, lines, last_written_at, trouble, troubled_since
    FROM outputs WHERE ended_at IS NULL
"""

_DEAD = """
    SELECT webhook, uri, last_error, dead_at FROM webhook_deliveries
    WHERE state = 'dead' LIMIT 50
"""

_DELIVERIES = """
    SELECT webhook, state, count(*) AS deliveries, min(created_at) AS oldest
    FROM webhook_deliveries GROUP BY webhook, state ORDER BY webhook, state
"""

_SCORES = """
    SELECT uri, scores ->> 'fake' AS fake, scores FROM verdicts
    WHERE scan_id = :scan AND (scores ->> 'fake')::float > 0.9
"""

_DISAGREEMENTS = """
    SELECT uri, model_a, verdict_a, p_fake_a, model_b, verdict_b, p_fake_b
    FROM model_disagreements WHERE scan_id = :scan ORDER BY difference DESC LIMIT 100
"""

_COUNTED = """
    SELECT model, verdict, count(*) AS images FROM verdicts WHERE scan_id = :scan
    GROUP BY model, verdict ORDER BY model, verdict
"""

_FAILURES_COUNTED = """
    SELECT code, count(*) AS images, min(message) AS for_example FROM failures
    WHERE scan_id = :scan GROUP BY code ORDER BY images DESC
"""

_WHAT_IF = """
    SELECT verdict, judge(p_fake, 0.1, 0.95) AS would_be, count(*) AS images
    FROM verdicts WHERE scan_id = :scan GROUP BY verdict, would_be ORDER BY verdict, would_be
"""

_MOST_SEEN = """
    SELECT sha256, count(DISTINCT uri) AS addresses, min(uri) AS one_of_them
    FROM verdicts WHERE scan_id = :scan
    GROUP BY sha256 HAVING count(DISTINCT uri) > 1 ORDER BY addresses DESC LIMIT 20
"""

_SUPERSEDED = """
    SELECT scan_id, model, model_revision, count(*) AS images
    FROM verdicts WHERE NOT revision_is_current GROUP BY scan_id, model, model_revision
"""

_EVERYTHING = "SELECT model, verdict, count(*) FROM verdicts GROUP BY model, verdict"

_STATUS_VERDICTS = """
    SELECT m.key AS model, v.verdict, count(*) AS images
    FROM ledger.verdicts v JOIN ledger.models m USING (model_id)
    WHERE v.scan_id = :scan GROUP BY m.key, v.verdict ORDER BY m.key, v.verdict
"""
