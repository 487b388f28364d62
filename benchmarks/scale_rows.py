"""Synthetic ledger of ten million verdicts, generated inside PostgreSQL.

An image's number determines its address, its bytes, its failure and each model's scores. So the
rows are deterministic, and copies, rescans and audits agree.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, text

from fakesweep.schema.judging.labels import Labels, Side, SidesOrigin
from fakesweep.schema.ledger.registry.models import ModelIdentity, register_model

LARGE = ("images", "outcomes", "contents", "predictions", "verdicts")
"""Tables filled without their indexes, which are built afterwards."""

MODELS = (("vit", "2026-01"), ("siglip", "2026-01"), ("vit", "2026-06"))
"""Key and revision; the last supersedes the first."""

OLD_VIT, SIGLIP, VIT = 1, 2, 3
PHOTOGRAPHS = 2
BUCKETS = ("archive", "photos", "uploads")
SMALL_IMAGES = 2_000
AUDITS = 3
AUDIT_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """A scan to generate: images `first` to `first + images - 1`, some of them pending."""

    scan_id: int
    name: str
    lane: str
    first: int
    images: int
    batch_images: int
    model_ids: Sequence[int]
    days_ago: float
    days: float
    pending: int = 0
    is_listed: bool = True
    archive: str | None = None


def plan(rows: int) -> list[PlannedScan]:
    """Return scans with about `rows` verdicts, oldest first.

    Half of the verdicts belong to an archive with one model, four tenths to photographs with two.
    A stream of uploads has many tiny batches. The rest are rescans of the archive's days, some of
    them audits, the last of them unfinished.
    """
    archive, photographs, uploads = rows // 2, rows // 5, rows * 3 // 100
    scans = [
        PlannedScan(1, "archive", "bulk", 1, archive, 256, [VIT], 300, 6, archive="a" * 64),
        PlannedScan(PHOTOGRAPHS, "photographs", "bulk", archive + 1, photographs, 256,
                    [VIT, SIGLIP], 280, 3),
        PlannedScan(3, "uploads", "live", archive + photographs + 1, uploads, 4, [VIT], 90, 90,
                    pending=200, is_listed=False),
    ]  # fmt: skip
    count = max(10, rows * 7 // 100 // SMALL_IMAGES)
    for number in range(count):
        is_audit = number >= count - AUDITS
        scans.append(
            PlannedScan(
                len(scans) + 1, f"day {number}", "bulk", 1 + number * (archive // (count + 1)),
                SMALL_IMAGES, 256, [OLD_VIT if number < count // 3 else VIT],
                270 * (1 - number / count), 0.1, archive="a" * 64 if is_audit else None,
            )
        )  # fmt: skip
    last = scans[-1]
    scans.append(PlannedScan(last.scan_id + 1, "at work", "bulk", 1, SMALL_IMAGES, 256, [VIT], 0.01,
                             0.01, pending=SMALL_IMAGES // 2))  # fmt: skip
    return scans


_WORDS = """
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE FUNCTION bench.uri(number bigint, archive bigint, photographs bigint) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE RETURN 's3://'
        || CASE WHEN number <= archive THEN 'archive'
                WHEN number <= archive + photographs THEN 'photos' ELSE 'uploads' END
        || '/' || to_char(timestamp '2025-07-01' + make_interval(days => (360 * (
            CASE WHEN number <= archive THEN number::float8 / archive
                 WHEN number <= archive + photographs
                 THEN (number - archive)::float8 / photographs ELSE 0 END))::integer),
            'YYYY/MM/DD')
        || '/' || lpad(number::text, 9, '0') || '-' || left(md5(number::text), 8) || '.jpg';
    -- A fifth are copies of an image before them, and one in a thousand is the same meme.
    CREATE FUNCTION bench.content(number bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
        CASE WHEN number % 1000 = 0 THEN 1
             WHEN number % 5 = 0 THEN (abs(hashint8extended(number, 1) % number) / 5) * 5 + 1
             ELSE number END;
    CREATE FUNCTION bench.failure(number bigint) RETURNS ledger.failure_code
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
        CASE WHEN number % 100 = 7 THEN
             (ARRAY['not_found', 'corrupt', 'timed_out', 'not_an_image'])[1 + number / 100 % 4]
             ::ledger.failure_code END;
    -- 96 % real, 2.5 % uncertain, 1.5 % fake; real ones crowd near zero.
    CREATE FUNCTION bench.p_fake(content bigint, u double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
        CASE WHEN content = 1 THEN 0.97
             WHEN u < 0.96 THEN 0.1999 * power(u / 0.96, 3)
             WHEN u < 0.985 THEN 0.2 + 0.6 * (u - 0.96) / 0.025
             ELSE 0.8001 + 0.1998 * (u - 0.985) / 0.015 END;
"""

_SCANS = text("""
    INSERT INTO ledger.scans (scan_id, name, lane, policy_id, model_keys, created_at, listed_at,
                              is_audit, archive, vanished_count)
    OVERRIDING SYSTEM VALUE
    VALUES (:scan_id, :name, CAST(:lane AS ledger.lane), 1,
            ARRAY(SELECT key FROM ledger.models WHERE model_id = ANY(:model_ids)),
            now() - make_interval(secs => :days_ago * 86400),
            CASE WHEN :is_listed THEN now() - make_interval(secs => :days_ago * 86000) END,
            CAST(:archive AS text) IS NOT NULL, :archive,
            CASE WHEN CAST(:archive AS text) IS NOT NULL THEN 0 END)
""")

_SOURCES = """
    INSERT INTO ledger.scan_sources (scan_id, position, source, listed_at)
    SELECT scan_id, 0, 's3://' || CASE scan_id WHEN 2 THEN 'photos' WHEN 3 THEN 'uploads'
                                  ELSE 'archive' END || '/', listed_at FROM ledger.scans;
    INSERT INTO ledger.source_parts (scan_id, position, part, listed_at, unchanged_count,
                                     new_count, changed_count)
    SELECT s.scan_id, 0, 0, listed_at,
           CASE WHEN is_audit AND s.scan_id > 1 THEN :archive ELSE 0 END,
           CASE WHEN s.scan_id = 1 THEN :archive ELSE 0 END,
           CASE WHEN is_audit AND s.scan_id > 1 THEN 2000 ELSE 0 END
    FROM ledger.scans s
"""

_PLANNED = text("""
    INSERT INTO bench.planned
    SELECT :first_image + n, :scan_id, :first_batch + n / :batch_images, :first + n,
           bench.content(:first + n), bench.failure(:first + n), n < :images - :pending,
           now() - make_interval(secs => 86400 * (:days_ago - :days * n::float8 / :images))
    FROM generate_series(0, CAST(:images - 1 AS bigint)) AS n
""")

_BATCHES = """
    INSERT INTO ledger.batches (batch_id, scan_id, lane, state, image_count, classified_count,
        reused_count, failed_count, attempt, created_at, published_at, finished_at)
    OVERRIDING SYSTEM VALUE
    SELECT batch_id, p.scan_id, s.lane,
           CASE WHEN bool_and(is_done) THEN 'done' ELSE 'recorded' END::ledger.batch_state,
           count(*),
           count(*) FILTER (WHERE is_done AND failure IS NULL AND content_id = number),
           count(*) FILTER (WHERE is_done AND failure IS NULL AND content_id <> number),
           count(*) FILTER (WHERE is_done AND failure IS NOT NULL), 1,
           min(done_at) - interval '9 seconds', min(done_at) - interval '8 seconds',
           CASE WHEN bool_and(is_done) THEN max(done_at) END
    FROM bench.planned p JOIN ledger.scans s USING (scan_id)
    GROUP BY batch_id, p.scan_id, s.lane ORDER BY batch_id
"""

_IMAGES = """
    INSERT INTO ledger.images (image_id, scan_id, batch_id, uri, size_bytes, etag, modified_at,
                               occurrence, change)
    OVERRIDING SYSTEM VALUE
    SELECT image_id, p.scan_id, batch_id, bench.uri(number, :archive, :photographs),
           50000 + number % 400000, md5(content_id::text), timestamptz '2025-07-01 12:00+00',
           CASE WHEN p.scan_id = 3 THEN number::text ELSE '' END,
           CASE WHEN is_audit AND p.scan_id = 1 THEN 'new'::ledger.change
                WHEN is_audit THEN 'changed' END
    FROM bench.planned p JOIN ledger.scans USING (scan_id)
"""

_CONTENTS = """
    INSERT INTO ledger.contents (content_id, sha256, size_bytes, width, height, format, frame_count,
                                 first_seen_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, sha256(int8send(n)), 50000 + n % 400000, 1024, 768, 'JPEG', 1,
           timestamptz '2026-01-01 12:00+00'
    FROM generate_series(1, CAST(:contents AS bigint)) AS n
    WHERE n % 5 <> 0 AND bench.failure(n) IS DISTINCT FROM 'not_found'
"""

_OUTCOMES = """
    INSERT INTO ledger.outcomes (image_id, scan_id, status, content_id, failure_code,
                                 failure_message, finished_at)
    SELECT image_id, scan_id,
           CASE WHEN failure IS NOT NULL THEN 'failed' WHEN content_id = number THEN 'classified'
                ELSE 'reused' END::ledger.image_status,
           CASE WHEN failure IN ('corrupt', 'not_an_image') OR failure IS NULL THEN content_id END,
           failure, CASE WHEN failure IS NOT NULL THEN 'this is why it failed' END, done_at
    FROM bench.planned WHERE is_done
"""

_PREDICTIONS = """
    INSERT INTO ledger.predictions (content_id, model_id, scores, p_fake, kind, classified_at)
    SELECT content_id, model_id, ARRAY[1 - p_fake, p_fake]::real[], p_fake, 'ai_generated',
           timestamptz '2026-01-01 12:00+00'
    FROM (
        SELECT content_id, model_id, bench.p_fake(content_id, u) AS p_fake FROM (
            SELECT DISTINCT content_id, model_id,
                   (hashint8extended(content_id, model_id) & 4294967295) / 4294967296.0::float8 AS u
            FROM bench.planned JOIN bench.judged_by USING (scan_id)
            WHERE failure IS NULL AND is_done
        ) AS drawn
    ) AS scored ORDER BY content_id, model_id
"""

# Sets the marks of the workers' trigger, which would be far too slow without indexes.
_VERDICTS = """
    INSERT INTO ledger.verdicts (image_id, model_id, scan_id, content_id, policy_id, p_fake,
                                 verdict, kind, judged_at, is_superseded)
    SELECT image_id, model_id, scan_id, content_id, 1, p_fake, judge(p_fake, 0.2, 0.8),
           CASE WHEN p_fake >= 0.2 THEN 'ai_generated'::ledger.kind END, done_at,
           p_fake >= 0.2 AND image_id < newest
    FROM (
        SELECT *, bench.p_fake(content_id, u) AS p_fake FROM (
            SELECT image_id, model_id, scan_id, content_id, done_at,
                   max(image_id) OVER (PARTITION BY content_id, model_id) AS newest,
                   (hashint8extended(content_id, model_id) & 4294967295) / 4294967296.0::float8 AS u
            FROM bench.planned JOIN bench.judged_by USING (scan_id)
            WHERE failure IS NULL AND is_done
        ) AS drawn
    ) AS judged ORDER BY image_id, model_id
"""

_SIGHTINGS = """
    INSERT INTO ledger.sightings (scan_id, image_ids)
    SELECT s.scan_id, array_agg(n ORDER BY n)
    FROM ledger.scans s CROSS JOIN generate_series(1, CAST(:archive AS bigint)) AS n
    WHERE s.is_audit GROUP BY s.scan_id, n / :page
"""

# Webhooks, schedules, outputs and workers: small tables.
# Each fake verdict has a webhook delivery; one in a hundred failed.
_AROUND = """
    INSERT INTO ledger.webhooks (name, url, secret) VALUES ('moderation', 'https://h.example', 's');
    INSERT INTO ledger.webhook_deliveries (webhook_id, image_id, model_id, scan_id, content_id,
        policy_id, p_fake, verdict, kind, created_at, attempts, delivered_at, dead_at)
    SELECT 1, image_id, model_id, scan_id, content_id, policy_id, p_fake, verdict, kind, judged_at,
           1, CASE WHEN image_id % 100 <> 3 THEN judged_at END,
           CASE WHEN image_id % 100 = 3 THEN judged_at END
    FROM ledger.verdicts WHERE verdict = 'fake';
    INSERT INTO ledger.schedules (name, cron, timezone, model_keys, policy, lane, next_at)
    SELECT 'night ' || n, '0 3 * * *', 'UTC', ARRAY['vit'], 'default', 'bulk', now()
    FROM generate_series(1, 20) AS n;
    INSERT INTO ledger.schedule_sources (schedule_id, position, source)
    SELECT schedule_id, 0, 's3://archive/' FROM ledger.schedules;
    INSERT INTO ledger.schedule_runs (schedule_id, due_at, outcome, scan_id)
    SELECT schedule_id, date_trunc('day', now()) - make_interval(days => day), 'fired', 1
    FROM ledger.schedules CROSS JOIN generate_series(1, 365) AS day;
    INSERT INTO ledger.outputs (scan_id, destination, ended_at)
    SELECT scan_id, 's3://results/' || scan_id || '/', CASE WHEN listed_at < now() THEN now() END
    FROM ledger.scans;
    INSERT INTO ledger.output_parts (scan_id, part, lines, size_bytes, sha256, written_at)
    SELECT s.scan_id, n, 10000, 4000000, sha256(int8send(n)), now()
    FROM ledger.scans s
    CROSS JOIN generate_series(1, CASE WHEN scan_id = 1 THEN :archive / 10000 ELSE 1 END) AS n;
    INSERT INTO ledger.workers (worker_id, hostname, pid, device, version, stopped_at)
    SELECT gen_random_uuid(), 'host' || n % 50, n, 'cuda', '0', CASE WHEN n > 50 THEN now() END
    FROM generate_series(1, 1000) AS n;
    INSERT INTO ledger.producers (producer_id, hostname, pid, version)
    SELECT gen_random_uuid(), 'producer' || n, n, '0' FROM generate_series(1, 3) AS n;
    INSERT INTO ledger.unreadable_messages (queue, reason, body)
    SELECT 'bulk', 'the message is no JSON object', '[]' FROM generate_series(1, 1000)
"""

_SEQUENCES = """
    SELECT setval(pg_get_serial_sequence('ledger.scans', 'scan_id'), max(scan_id))
    FROM ledger.scans;
    SELECT setval(pg_get_serial_sequence('ledger.batches', 'batch_id'), max(batch_id))
    FROM ledger.batches;
    SELECT setval(pg_get_serial_sequence('ledger.images', 'image_id'), max(image_id))
    FROM ledger.images;
    SELECT setval(pg_get_serial_sequence('ledger.contents', 'content_id'), max(content_id))
    FROM ledger.contents
"""

_INDEXES = text("""
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
                  pg_get_constraintdef(oid)) AS make
    FROM pg_constraint WHERE conrelid = ANY(CAST(:tables AS regclass[])) AND contype IN ('p', 'u')
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = ANY(CAST(:tables AS regclass[]))
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
""")


def load(engine: Engine, rows: int) -> dict[str, float]:
    """Fill an empty ledger with about `rows` verdicts; return the seconds of each step."""
    scans = plan(rows)
    numbers = {
        "archive": scans[0].images,
        "photographs": scans[1].images,
        "contents": sum(scan.images for scan in scans[:3]),
        "page": AUDIT_PAGE,
    }
    took: dict[str, float] = {}
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SET LOCAL maintenance_work_mem = '1GB'; SET LOCAL work_mem = '256MB'; "
            "SET LOCAL synchronous_commit = off"
        )
        indexes = _without_indexes(connection)
        for step, statements in _steps(connection, scans):
            begun = time.monotonic()
            for statement in statements:
                connection.execute(text(statement), numbers)
            took[step] = time.monotonic() - begun
        begun = time.monotonic()
        for statement in indexes:
            connection.exec_driver_sql(statement)
        took["indexes"] = time.monotonic() - begun
        connection.exec_driver_sql("DROP TABLE bench.planned")
    begun = time.monotonic()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE)")
        connection.exec_driver_sql("CHECKPOINT")
    return took | {"vacuum and statistics": time.monotonic() - begun}


def _steps(
    connection: Connection, scans: Sequence[PlannedScan]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each step's name and statements; the plan is stored before the first."""
    connection.execute(text(_WORDS))
    labels = Labels(("real", "fake"), (Side.REAL, Side.AI_GENERATED), SidesOrigin.NAMES)
    for key, revision in MODELS:
        made = ModelIdentity(key, f"bench/{key}", revision, "f", "ViT", {"size": 224}, labels)
        register_model(connection, made)
    _add_scans(connection, scans)
    yield "plan", [_SOURCES]
    yield "batches", [_BATCHES]
    yield "images", [_IMAGES]
    yield "contents", [_CONTENTS]
    yield "outcomes", [_OUTCOMES]
    yield "predictions", [_PREDICTIONS]
    yield (
        "verdicts",
        [
            "ALTER TABLE ledger.verdicts DISABLE TRIGGER verdicts_added",
            _VERDICTS,
            "ALTER TABLE ledger.verdicts ENABLE TRIGGER verdicts_added",
        ],
    )
    yield "sightings", [_SIGHTINGS]
    yield "what is around", _AROUND.split(";")
    yield "sequences", _SEQUENCES.split(";")


def _add_scans(connection: Connection, scans: Sequence[PlannedScan]) -> None:
    connection.exec_driver_sql(
        "CREATE UNLOGGED TABLE bench.planned (image_id bigint, scan_id bigint, batch_id bigint, "
        "number bigint, content_id bigint, failure ledger.failure_code, is_done boolean, "
        "done_at timestamptz);"
        "CREATE TABLE bench.judged_by (scan_id bigint, model_id integer)"
    )
    first_image = first_batch = 1
    for scan in scans:
        planned = asdict(scan) | {"first_image": first_image, "first_batch": first_batch}
        connection.execute(_SCANS, planned)
        connection.execute(_PLANNED, planned)
        for model_id in scan.model_ids:
            connection.exec_driver_sql(
                f"INSERT INTO bench.judged_by VALUES ({scan.scan_id}, {model_id})"
            )
        first_image += scan.images
        first_batch += -(-scan.images // scan.batch_images)
    connection.exec_driver_sql("ANALYZE bench.planned; ANALYZE bench.judged_by")


def _without_indexes(connection: Connection) -> list[str]:
    """Drop the large tables' indexes; return the statements that rebuild them."""
    tables = [f"ledger.{name}" for name in LARGE]
    indexes = connection.execute(_INDEXES, {"tables": tables}).all()
    for index in indexes:
        connection.exec_driver_sql(index.drop)
    return [index.make for index in indexes]
