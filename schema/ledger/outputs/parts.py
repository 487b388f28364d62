"""Output parts: the destination of a scan's output, its parts and their state."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from fakesweep.schema.errors import OutputError
from fakesweep.schema.ledger.batches.states import TAKABLE
from fakesweep.schema.reasons import reason as short

_ADD_OUTPUT = text("""
    INSERT INTO ledger.outputs (scan_id, destination, hostname)
    VALUES (:scan_id, :destination, :hostname)
    ON CONFLICT DO NOTHING
""")

_OWNER = text("""
    SELECT scan_id FROM ledger.outputs
    WHERE ledger.digest_of(destination) = ledger.digest_of(:destination)
      AND coalesce(hostname, '') = coalesce(:hostname, '')
""")

_TO_WRITE = text("""
    SELECT scan_id FROM ledger.outputs
    WHERE ended_at IS NULL AND coalesce(hostname, :hostname) = :hostname
      AND coalesce(try_at, now()) <= now()
    ORDER BY scan_id
""")

# Only `fakesweep retry` makes batches of a scan that had ended.
_REOPEN = text("""
    UPDATE ledger.outputs o SET ended_at = NULL
    WHERE ended_at IS NOT NULL AND scan_id = coalesce(:scan_id, scan_id) AND EXISTS (
        SELECT FROM ledger.batches b WHERE b.scan_id = o.scan_id AND b.batch_id > o.last_batch_id
    )
""")

_LOCK = text("SELECT pg_try_advisory_lock(hashtext('fakesweep output'), :scan_id)")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtext('fakesweep output'), :scan_id)")

# A cancelled scan is complete when only batches without a worker are left.
_STANDING = text(f"""
    SELECT o.destination, o.hostname, o.from_batch_id, p.has_ended AND NOT EXISTS (
            SELECT FROM ledger.batches b
            WHERE b.scan_id = o.scan_id AND (b.state = 'running' OR b.state IN {TAKABLE})
              AND p.state = 'cancelled'
        ) AS has_ended,
        (SELECT max(batch_id) FROM ledger.batches b WHERE b.scan_id = o.scan_id) AS last_batch_id
    FROM ledger.outputs o JOIN scan_progress p USING (scan_id)
    WHERE o.scan_id = :scan_id
""")  # noqa: S608 - our own words

_UNWRITTEN = text("""
    SELECT part FROM ledger.output_parts
    WHERE scan_id = :scan_id AND written_at IS NULL ORDER BY part LIMIT 1
""")

# A cancelled scan has images with outcomes in batches that are never done.
# The new attempt fences off former holders of the batch.
_CUT = text("""
    WITH waiting AS (
        SELECT batch_id, lines, finished_at, sum(lines) OVER (ORDER BY batch_id) AS lines_up_to
        FROM (
            SELECT b.batch_id, b.finished_at, ledger.ended_of(b) AS lines
            FROM ledger.batches b
            WHERE b.scan_id = :scan_id AND b.batch_id >= :from_batch_id
              AND (b.state = 'done' OR :has_ended)
              AND ledger.ended_of(b) > 0
              AND NOT EXISTS (
                  SELECT FROM ledger.output_batches a
                  WHERE a.scan_id = b.scan_id AND a.batch_id = b.batch_id
              )
            ORDER BY b.batch_id LIMIT :part_lines
        ) AS found
    ), part AS (
        INSERT INTO ledger.output_parts (scan_id, part)
        SELECT :scan_id, 1 + coalesce(
            (SELECT max(part) FROM ledger.output_parts WHERE scan_id = :scan_id), 0
        ) FROM waiting
        HAVING count(*) > 0 AND (
            :has_ended OR max(lines_up_to) >= :part_lines
            OR min(finished_at) <= now() - make_interval(secs => :part_seconds)
        )
        RETURNING part
    ), taken AS (
        INSERT INTO ledger.output_batches (scan_id, batch_id, part)
        SELECT :scan_id, w.batch_id, p.part FROM waiting w CROSS JOIN part p
        WHERE w.lines_up_to - w.lines < :part_lines
        RETURNING batch_id
    ), closed AS (
        UPDATE ledger.batches b SET attempt = attempt + 1
        FROM taken WHERE b.batch_id = taken.batch_id AND b.state <> 'done'
    )
    SELECT part FROM part
""")

_MOVE_ON = text("""
    UPDATE ledger.outputs o SET from_batch_id = coalesce((
        SELECT min(b.batch_id) FROM ledger.batches b
        WHERE b.scan_id = o.scan_id AND b.batch_id >= o.from_batch_id
          AND (b.state <> 'done' OR ledger.ended_of(b) > 0)
          AND NOT EXISTS (
              SELECT FROM ledger.output_batches a
              WHERE a.scan_id = b.scan_id AND a.batch_id = b.batch_id
          )
    ), from_batch_id)
    WHERE scan_id = :scan_id
""")

_ROWS = text("""
    SELECT scan_id, image_id, uri, status::text AS status, failure_code::text AS failure_code,
           failure_message, finished_at AS ended_at, sha256, size_bytes, width, height, format,
           model, model_revision AS revision, policy, verdict::text AS verdict,
           kind::text AS kind, p_fake, scores, judged_at
    FROM results
    WHERE batch_id = ANY (ARRAY(
        SELECT a.batch_id FROM ledger.output_batches a
        WHERE a.scan_id = :scan_id AND a.part = :part
    ))
    ORDER BY batch_id, image_id, model, model_id
""")

_WRITTEN = text("""
    WITH well AS (
        UPDATE ledger.outputs SET trouble = NULL, troubled_since = NULL, try_at = NULL
        WHERE scan_id = :scan_id AND trouble IS NOT NULL
    )
    UPDATE ledger.output_parts
    SET lines = :lines, size_bytes = :size_bytes, sha256 = :sha256, written_at = now()
    WHERE scan_id = :scan_id AND part = :part
""")

_END = text("""
    UPDATE ledger.outputs
    SET ended_at = now(), last_batch_id = :last_batch_id,
        trouble = NULL, troubled_since = NULL, try_at = NULL
    WHERE scan_id = :scan_id
""")

_TROUBLE = text("""
    UPDATE ledger.outputs
    SET trouble = :reason, troubled_since = coalesce(troubled_since, now()),
        try_at = ledger.next_try(troubled_since, make_interval(secs => :at_most_seconds))
    WHERE scan_id = :scan_id
""")

_REPORT = text("SELECT * FROM outputs WHERE scan_id = :scan_id")


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a scan's output; `has_ended` tells whether the scan can change no more.

    `last_batch_id` is the scan's newest batch, 0 where it has none.
    """

    destination: str
    hostname: str | None
    from_batch_id: int
    has_ended: bool
    last_batch_id: int


@dataclass(frozen=True, slots=True)
class OutputReport:
    """The parts written of a scan's output, and the error that stops it, if any."""

    scan_id: int
    destination: str
    hostname: str | None
    parts: int
    lines: int
    size_bytes: int
    last_written_at: datetime | None
    ended_at: datetime | None
    trouble: str | None
    troubled_since: datetime | None

    @property
    def said(self) -> str:
        """The summary line for people."""
        place = self.destination + (f" on {self.hostname}" if self.hostname else "")
        said = f"{place}: {self.lines} lines in {self.parts} parts"
        if self.trouble is not None and self.troubled_since is not None:
            since = self.troubled_since.isoformat(" ", "seconds")
            return f"{said}; not written on since {since}: {self.trouble}"
        return f"{said}, {'complete' if self.ended_at else 'being written'}"


def add_output(
    connection: Connection, scan_id: int, destination: str, hostname: str | None
) -> None:
    """Record the destination of a scan's output; only the machine `hostname` can write there.

    Raises:
        OutputError: another scan's output has this destination.
    """
    place = {"destination": destination, "hostname": hostname}
    if connection.execute(_ADD_OUTPUT, {"scan_id": scan_id, **place}).rowcount == 0:
        owner = connection.execute(_OWNER, place).scalar_one()
        raise OutputError(
            f"the output of scan {owner} goes to {destination}; choose a place of its own"
        )


def outputs_to_write(connection: Connection, hostname: str) -> list[int]:
    """Return the scans whose output is incomplete and can be written from this host now."""
    return list(connection.execute(_TO_WRITE, {"hostname": hostname}).scalars())


def reopen_outputs(connection: Connection, scan_id: int | None = None) -> int:
    """Reopen complete outputs whose images ran again, of one scan or of all."""
    return connection.execute(_REOPEN, {"scan_id": scan_id}).rowcount


def lock_output(connection: Connection, scan_id: int) -> bool:
    """Try to lock an output for this process alone, until unlocked or disconnected."""
    return bool(connection.execute(_LOCK, {"scan_id": scan_id}).scalar_one())


def unlock_output(connection: Connection, scan_id: int) -> None:
    """Unlock an output."""
    connection.execute(_UNLOCK, {"scan_id": scan_id})


def standing(connection: Connection, scan_id: int) -> Standing:
    """Return the state of a scan's output."""
    row = connection.execute(_STANDING, {"scan_id": scan_id}).one()
    return Standing(
        row.destination, row.hostname, row.from_batch_id, row.has_ended, row.last_batch_id or 0
    )


def unwritten_part(connection: Connection, scan_id: int) -> int | None:
    """Return the first part that is cut but not recorded as written."""
    return connection.execute(_UNWRITTEN, {"scan_id": scan_id}).scalar_one_or_none()


def make_part(
    connection: Connection, now: Standing, scan_id: int, *, part_lines: int, part_seconds: float
) -> int | None:
    """Cut a part of done batches and return its number, None where none is due.

    A part is due with `part_lines` lines, with a line older than `part_seconds`, or when the scan
    has ended. The caller holds the output's lock.
    """
    wanted = {
        "scan_id": scan_id,
        "has_ended": now.has_ended,
        "part_lines": part_lines,
        "part_seconds": part_seconds,
    }
    # At the end all batches are read: one can become visible after its successors.
    for first in (now.from_batch_id, 0) if now.has_ended else (now.from_batch_id,):
        part = connection.execute(_CUT, wanted | {"from_batch_id": first}).scalar_one_or_none()
        if part is not None:
            connection.execute(_MOVE_ON, {"scan_id": scan_id})
            return int(part)
    return None


def part_rows(connection: Connection, scan_id: int, part: int) -> Iterator[RowMapping]:
    """Yield a part's rows, one for each image and model, grouped by image.

    Rows are read lazily.
    """
    yield from connection.execute(
        _ROWS,
        {"scan_id": scan_id, "part": part},
        execution_options={"stream_results": True, "max_row_buffer": 1_000},
    ).mappings()


def record_written(
    connection: Connection, scan_id: int, part: int, *, lines: int, size_bytes: int, sha256: bytes
) -> None:
    """Record that a part is written, with the size and SHA-256 of its file."""
    connection.execute(
        _WRITTEN,
        {
            "scan_id": scan_id,
            "part": part,
            "lines": lines,
            "size_bytes": size_bytes,
            "sha256": sha256,
        },
    )


def end_output(connection: Connection, scan_id: int, last_batch_id: int) -> None:
    """Record that an output is complete up to the newest batch of its summary."""
    connection.execute(_END, {"scan_id": scan_id, "last_batch_id": last_batch_id})


def record_trouble(
    connection: Connection, scan_id: int, reason: str, at_most_seconds: float
) -> None:
    """Record why an output cannot be written; its next try is at most `at_most_seconds` away."""
    connection.execute(
        _TROUBLE,
        {"scan_id": scan_id, "reason": short(reason), "at_most_seconds": at_most_seconds},
    )


def output_of(connection: Connection, scan_id: int) -> OutputReport | None:
    """Return the state of a scan's output, None where it has none."""
    row = connection.execute(_REPORT, {"scan_id": scan_id}).mappings().one_or_none()
    return None if row is None else OutputReport(**row)
