"""URIs in the ledger: of any length, unique in a scan, with a path for people."""

import os
import random
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from fakesweep.schema.errors import OutputError
from fakesweep.schema.ledger.outputs.parts import add_output
from fakesweep.schema.ledger.reports.results import results
from fakesweep.schema.ledger.uploads import Stream, Upload, known_images, open_scan, record_uploads
from fakesweep.schema.uris import MAX_URI_BYTES, from_path, path_of
from fakesweep.schema.words import Lane
from tests.integration.ledger.rows import (
    add_model,
    ask,
    claimed,
    end,
    failed,
    record,
    store,
    take,
    tuples,
    value,
)

VIEWS = (
    "verdicts", "review_queue", "failures", "model_disagreements", "audit_changes", "audit_images",
    "webhook_deliveries",
)  # fmt: skip


def long_uri(start: str, seed: int) -> str:
    """Return an incompressible URI of maximal length, like one with a signature."""
    letters = random.Random(seed).choices(string.ascii_letters + string.digits, k=MAX_URI_BYTES)
    return (start + "".join(letters))[:MAX_URI_BYTES]


def test_the_longest_addresses_are_recorded_once_and_found_again(engine: Engine) -> None:
    uris = [long_uri("https://host/a.jpg?X-Amz-Security-Token=", seed) for seed in range(3)]
    scan_id = ask(engine)
    record(engine, scan_id, [uris[0], "s3://photos/a.jpg", uris[1]])
    record(engine, scan_id, [uris[1], uris[2], "s3://photos/a.jpg"])
    assert value(engine, "SELECT count(*) FROM ledger.images") == 4
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT uri FROM ledger.images WHERE uri = :uri"), {"uri": uris[2]}
        )
        assert list(found.scalars()) == [uris[2]]


def test_an_audit_knows_a_long_address_again(engine: Engine) -> None:
    uri = long_uri("https://host/a.jpg?", 7)
    record(engine, ask(engine, is_audit=True), [uri])
    record(engine, ask(engine, is_audit=True), [uri])
    assert tuples(engine, "SELECT change::text FROM ledger.images ORDER BY image_id") == [
        ("new",), ("new",),
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger.images SET size_bytes = 3"))
    record(engine, ask(engine, is_audit=True), [uri])
    assert value(engine, "SELECT max(change)::text FROM ledger.images WHERE image_id = 3") == (
        "changed"
    )


def test_an_upload_with_a_long_address_is_the_same_when_it_is_handed_in_again(
    engine: Engine,
) -> None:
    add_model(engine)
    stream = Stream("uploads", Lane.LIVE, "default", ("tiny",))
    uploads = [Upload(long_uri("https://host/", 9), "once"), Upload("s3://photos/a.jpg", "once")]
    with engine.begin() as connection:
        scan = open_scan(connection, stream)
        first = record_uploads(connection, scan, uploads)
        assert record_uploads(connection, scan, uploads) == {}
        assert known_images(connection, stream, list(first)) == first


def test_a_long_destination_belongs_to_one_scan(engine: Engine) -> None:
    place = long_uri("/out/", 5)[:4_000]
    first, second = ask(engine), ask(engine)
    with engine.begin() as connection:
        add_output(connection, first, place, "here")
    with engine.begin() as connection, pytest.raises(OutputError, match=f"scan {first}"):
        add_output(connection, second, place, "here")


NAMES = st.one_of(
    st.binary(min_size=1, max_size=40), st.text(min_size=1, max_size=20).map(
        lambda name: name.encode("utf-8", "surrogatepass")
    ),
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(NAMES)
def test_the_ledger_and_this_code_show_the_same_path(engine: Engine, name: bytes) -> None:
    name = name.replace(b"\0", b"").replace(b"/", b"")
    uri = from_path(Path(os.fsdecode(b"/photos/a" + name)))
    with engine.connect() as connection:
        shown = connection.execute(text("SELECT path_of(:uri)"), {"uri": uri}).scalar_one()
    assert shown == path_of(uri)
    if shown.isascii() is False:
        assert shown.encode() == b"/photos/a" + name


def test_every_view_with_an_address_shows_its_path(engine: Engine) -> None:
    for view in VIEWS:
        with engine.connect() as connection:
            columns = list(connection.execute(text(f"SELECT * FROM {view}")).keys())
        assert columns.count("path") == 1, view


def test_results_and_failures_name_files_as_people_do(engine: Engine) -> None:
    scan_id = ask(engine)
    record(
        engine, scan_id, ["file:///glass%20plates/%C3%9Cml%C3%A4ut.jpg", "s3://photos/a%20b.jpg"]
    )
    end(engine, scan_id)
    (message,) = take(engine)
    held = claimed(engine, message.batch_id)
    assert store(engine, held, [failed(image) for image in message.images])
    wanted = ["/glass plates/Ümläut.jpg", None]
    with engine.connect() as connection:
        assert [row["path"] for row in results(connection, scan_id)] == wanted
    assert [path for (path,) in tuples(engine, "SELECT path FROM failures ORDER BY image_id")] == (
        wanted
    )
