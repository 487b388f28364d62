"""Changes that an audit found, image by image."""

from collections.abc import Iterator

from sqlalchemy import Connection, RowMapping, text

from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.reports.adhoc import FETCH_ROWS
from fakesweep.schema.ledger.reports.progress import progress
from fakesweep.schema.words import CHANGE_WORDS

CHANGE_COLUMNS = ("change", "uri", "path", "former_uri", "former_path", "size_bytes", "etag",
                  "modified_at", "image_id")  # fmt: skip

_CHANGES = text(f"""
    SELECT {", ".join(CHANGE_COLUMNS)} FROM audit_changes
    WHERE scan_id = :scan_id AND change = ANY (CAST(:words AS text[]))
    ORDER BY change = 'vanished', image_id
""")  # noqa: S608 - our own words

_COUNTS = text("""
    SELECT change, count(*) AS images FROM audit_changes WHERE scan_id = :scan_id GROUP BY change
""")


def changes_of(
    connection: Connection, scan_id: int, words: tuple[str, ...]
) -> Iterator[RowMapping]:
    """Yield the changes since the audit before, in listing order, vanished images last.

    Raises:
        ScanError: there is no such scan, or it is no audit.
    """
    check_audit(connection, scan_id)
    wanted = {"scan_id": scan_id, "words": list(words)}
    yield from connection.execute(
        _CHANGES, wanted, execution_options={"stream_results": True, "max_row_buffer": FETCH_ROWS}
    ).mappings()


def change_counts(connection: Connection, scan_id: int) -> dict[str, int]:
    """Return the number of images for each change word.

    Raises:
        ScanError: there is no such scan, or it is no audit.
    """
    check_audit(connection, scan_id)
    rows = connection.execute(_COUNTS, {"scan_id": scan_id})
    found = {row.change: row.images for row in rows}
    return {word: found.get(word, 0) for word in CHANGE_WORDS}


def check_audit(connection: Connection, scan_id: int) -> None:
    """Refuse a scan that is no audit.

    Raises:
        ScanError: there is no such scan, or it is no audit.
    """
    if not progress(connection, scan_id).is_audit:
        raise ScanError(
            f"scan {scan_id} is no audit, so it compared nothing: `fakesweep scan --audit` and "
            f"schedules make such; `fakesweep results {scan_id}` shows what came of it"
        )
