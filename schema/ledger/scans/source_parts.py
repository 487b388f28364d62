"""Statements on source parts: the sections in which a source is listed, each with its cursor."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

_PARTS_LEFT = text("""
    SELECT p.position, p.part, s.source, s.hostname, p.cursor, p.until, s.members
    FROM ledger.source_parts p JOIN ledger.scan_sources s USING (scan_id, position)
    WHERE p.scan_id = :scan_id AND p.listed_at IS NULL AND s.listed_at IS NULL
    ORDER BY p.position, p.part
""")

_NEXT_PART = text("""
    SELECT max(part) + 1 FROM ledger.source_parts
    WHERE (scan_id, position) = (:scan_id, :position)
""")

_CUT_PART = text("""
    WITH cut AS (
        UPDATE ledger.source_parts SET until = :cursor
        WHERE (scan_id, position, part) = (:scan_id, :position, :part)
    )
    INSERT INTO ledger.source_parts (scan_id, position, part, cursor, until)
    VALUES (:scan_id, :position, :new_part, :cursor, :until)
""")

_END_PART = text("""
    UPDATE ledger.source_parts SET listed_at = now()
    WHERE (scan_id, position, part) = (:scan_id, :position, :part)
""")

_END_SOURCE = text("""
    UPDATE ledger.scan_sources s SET listed_at = now()
    WHERE scan_id = :scan_id AND position = :position AND NOT EXISTS (
        SELECT FROM ledger.source_parts p
        WHERE (p.scan_id, p.position) = (s.scan_id, s.position) AND p.listed_at IS NULL
    )
""")


@dataclass(frozen=True, slots=True)
class Part:
    """A section of a source whose listing is not finished.

    `cursor` is where its listing stands, None at the source's start. `until` is its last cursor,
    None for the source's end. `hostname` is the only machine that can list it. `members` are the
    URIs named one by one.
    """

    position: int
    number: int
    source: str
    hostname: str | None = None
    cursor: str | None = None
    until: str | None = None
    members: tuple[str, ...] = ()


def parts_left(connection: Connection, scan_id: int) -> list[Part]:
    """Return the parts of sources whose listing is not finished, in order."""
    rows = connection.execute(_PARTS_LEFT, {"scan_id": scan_id})
    return [
        Part(
            row.position,
            row.part,
            row.source,
            row.hostname,
            row.cursor,
            row.until,
            tuple(row.members or ()),
        )
        for row in rows
    ]


def next_part(connection: Connection, scan_id: int, position: int) -> int:
    """Return the number of the next part of a source."""
    wanted = {"scan_id": scan_id, "position": position}
    return int(connection.execute(_NEXT_PART, wanted).scalar_one())


def split_part(connection: Connection, scan_id: int, part: Part, new: Part) -> None:
    """Split a part: the keys behind the new part's cursor go to the new part."""
    connection.execute(
        _CUT_PART,
        {
            "scan_id": scan_id,
            "position": part.position,
            "part": part.number,
            "new_part": new.number,
            "cursor": new.cursor,
            "until": new.until,
        },
    )


def end_part(connection: Connection, scan_id: int, part: Part) -> None:
    """Record that a part is listed to its end, and its source with its last part."""
    ended = {"scan_id": scan_id, "position": part.position, "part": part.number}
    connection.execute(_END_PART, ended)
    connection.execute(_END_SOURCE, {"scan_id": scan_id, "position": part.position})
