"""Asking for a scan: what the producer holds open, and how a request becomes a row."""

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
from fakesweep.producer.sources.members import gathered
from fakesweep.schema.ledger.outputs.parts import add_output
from fakesweep.schema.ledger.registry.policies import policy_id
from fakesweep.schema.ledger.scans.idempotency import set_token
from fakesweep.schema.ledger.scans.names import check_name
from fakesweep.schema.ledger.scans.scans import add_scan as record_scan
from fakesweep.schema.selection import Selection
from fakesweep.schema.words import Lane

MOST_TOLD_SOURCES = 100
"""Sources that are kept by name with a token."""


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What a person asks for; sources and models as they were written.

    An audit passes over what stands as it was last judged. `output` is a folder or
    s3://bucket/prefix that the results are written to while the scan runs; asking again with the
    same `token` finds the scan there is.
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
    """The scan that a request came to; it is not new where its token found one."""

    scan_id: int
    is_new: bool


def add_scan(producer: Producer, request: ScanRequest) -> int:
    """Check everything a request names, then record it; nothing is written where a part is wrong.

    Raises:
        CatalogueError: a model or the policy is not known.
        SourceError: a source cannot be listed, or holds nothing.
        OutputError: the output is not empty, or cannot be written.
        ScanError: the token belongs to another request.
    """
    return ask_for_scan(producer, request).scan_id


def ask_for_scan(producer: Producer, request: ScanRequest) -> AskedScan:
    """Do as `add_scan` does, and tell whether the scan is new.

    A token that is known is looked at first: what was there when the scan was asked for need not be
    there any more.

    Raises:
        FakesweepError: as `add_scan` says.
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
    """Record what a request asks for, in the caller's transaction; no source is looked at.

    Nor is the output. `resolved` are its sources as they were resolved earlier, perhaps on another
    machine. With a token that was used before it returns the scan there is.

    Raises:
        CatalogueError: a model or the policy is not known.
        SourceError: a source is none, or the selection makes no sense.
        OutputError: the output is none, or another scan's.
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
    """Return what makes two requests the same one, as JSON knows it; a name does not count."""
    output = None if request.output is None else resolve_destination(request.output)
    return {
        "sources": _told(sources),
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
    return gathered([resolve_source(text) for text in request.sources])


def _told(sources: Sequence[ResolvedSource]) -> list[list[str | None]] | str:
    """Return every source and member by its name; the digest of them where they are many."""
    named = [
        [one, source.hostname] for source in sources for one in source.members or (source.source,)
    ]
    if len(named) <= MOST_TOLD_SOURCES:
        return named
    return "sha256:" + hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _model_keys(producer: Producer, request: ScanRequest) -> list[str]:
    entries = [producer.catalogue.model(reference) for reference in request.models]
    return list(dict.fromkeys(entry.key for entry in entries))
