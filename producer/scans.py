"""Scan requests: checked, then recorded as rows of the ledger."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from fakesweep.producer.idempotency import asked_before
from fakesweep.producer.listing.filter import check_selection
from fakesweep.producer.outputs.destinations import check_destination, resolve_destination
from fakesweep.producer.resources import Producer
from fakesweep.producer.sources import ResolvedSource, check_named, resolve_source
from fakesweep.producer.sources.members import grouped
from fakesweep.schema.ledger.outputs.parts import add_output
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.idempotency import set_token
from fakesweep.schema.ledger.scans.names import check_name
from fakesweep.schema.ledger.scans.scans import add_scan as record_scan
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import Lane

MAX_NAMED_SOURCES = 100
"""Sources that a token's request keeps by name; beyond that it keeps their digest."""


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """Request for a scan; sources and models as the person wrote them.

    An audit skips images that are unchanged since they were last judged. `output` is the folder or
    s3://bucket/prefix for results. A repeated request with the same `token` returns the same scan.
    """

    sources: tuple[str, ...]
    models: tuple[str, ...]
    lane: Lane
    policy: str
    name: str | None = None
    is_audit: bool = False
    selection: Selection = field(default_factory=Selection)
    output: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class AskedScan:
    """Scan of a request; `is_new` is false where the token found an existing scan."""

    scan_id: int
    is_new: bool


def add_scan(producer: Producer, request: ScanRequest) -> int:
    """Check a request, record its scan and return the scan's id; an invalid request writes nothing.

    Raises:
        CatalogueError: a model or the policy is unknown.
        SourceError: a source cannot be listed, or is empty.
        OutputError: the output is not empty, or cannot be written.
        ScanError: the token belongs to another request.
    """
    return ask_for_scan(producer, request).scan_id


def ask_for_scan(producer: Producer, request: ScanRequest) -> AskedScan:
    """Add a scan as `add_scan` does, and tell whether it is new.

    A known token returns its scan before the sources are checked: they may be gone by now.

    Raises:
        FakesweepError: as for `add_scan`.
    """
    if request.name is not None:
        check_name(request.name)
    sources = _resolved(request)
    with producer.engine.begin() as connection:
        scan_id = _scan_of_token(connection, producer, request, sources)
        if scan_id is not None:
            return AskedScan(scan_id, is_new=False)
        for source in sources:
            check_named(source, producer.settings, request.selection)
        if request.output is not None:
            check_destination(resolve_destination(request.output), producer.settings)
        return AskedScan(_record(connection, producer, request, sources), is_new=True)


def record_request(
    connection: Connection,
    producer: Producer,
    request: ScanRequest,
    resolved: Sequence[ResolvedSource] | None = None,
) -> int:
    """Record a request in the caller's transaction, without a look at its sources or output.

    `resolved` are sources that were resolved earlier, perhaps on another machine. A known token
    returns its scan.

    Raises:
        CatalogueError: a model or the policy is unknown.
        SourceError: a source or the selection is invalid.
        OutputError: the output is invalid, or belongs to another scan.
        ScanError: the token belongs to another request.
    """
    sources = resolved or _resolved(request)
    scan_id = _scan_of_token(connection, producer, request, sources)
    if scan_id is None:
        scan_id = _record(connection, producer, request, sources)
    return scan_id


def _record(
    connection: Connection,
    producer: Producer,
    request: ScanRequest,
    sources: Sequence[ResolvedSource],
) -> int:
    check_selection(request.selection)
    scan_id = record_scan(
        connection,
        name=request.name,
        lane=request.lane,
        policy_id=policy_id(
            connection, request.policy, producer.catalogue.policies.get(request.policy)
        ),
        model_keys=_model_keys(producer, request),
        sources=sources,
        is_audit=request.is_audit,
        selection=request.selection,
    )
    if request.output is not None:
        destination = resolve_destination(request.output)
        add_output(connection, scan_id, destination.place, destination.hostname)
    if request.token is not None:
        set_token(connection, scan_id, request.token, _asked(producer, request, sources))
    return scan_id


def _scan_of_token(
    connection: Connection,
    producer: Producer,
    request: ScanRequest,
    sources: Sequence[ResolvedSource],
) -> int | None:
    if request.token is None:
        return None
    return asked_before(connection, request.token, _asked(producer, request, sources))


def _asked(
    producer: Producer, request: ScanRequest, sources: Sequence[ResolvedSource]
) -> dict[str, Any]:
    """Return the JSON that identifies a request; the scan's name is no part of it."""
    output = None if request.output is None else resolve_destination(request.output)
    return {
        "sources": _source_names(sources),
        "models": _model_keys(producer, request),
        "policy": request.policy,
        "lane": request.lane.value,
        "is_audit": request.is_audit,
        "selection": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in request.selection.as_json().items()
        },
        "output": output and [output.place, output.hostname],
    }


def _resolved(request: ScanRequest) -> list[ResolvedSource]:
    return grouped([resolve_source(text) for text in request.sources])


def _source_names(sources: Sequence[ResolvedSource]) -> list[list[str | None]] | str:
    """Return the names of all sources and members, or the digest of a long list."""
    named = [
        [one, source.hostname] for source in sources for one in source.members or (source.source,)
    ]
    if len(named) <= MAX_NAMED_SOURCES:
        return named
    return "sha256:" + hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _model_keys(producer: Producer, request: ScanRequest) -> list[str]:
    entries = [producer.catalogue.model(reference) for reference in request.models]
    return list(dict.fromkeys(entry.key for entry in entries))
