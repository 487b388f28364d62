"""Scan routes: list scans, and read the progress of one."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends

from fakesweep.producer.api.models import LARGEST_ID, RowId, Scan, ScanPage
from fakesweep.producer.api.pages import AfterScan, Limit
from fakesweep.producer.api.resources import Opened
from fakesweep.schema.errors import ScanError
from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.ledger.reports.progress import progress, recent_scans
from fakesweep.schema.words import Scope
from fakesweep.serving.auth import caller_with
from fakesweep.serving.openapi import problems_of_reading
from fakesweep.serving.problems import Problem, ProblemCode

router = APIRouter(prefix="/v1/scans", tags=["scans"])


@router.get(
    "",
    operation_id="list_scans",
    summary="List scans",
    response_description="A page of scans",
    response_model_exclude_none=True,
    responses=problems_of_reading(HTTPStatus.NOT_FOUND),
)
def list_scans(
    _caller: Annotated[Caller, Depends(caller_with(Scope.READ))],
    opened: Opened,
    after: AfterScan = None,
    limit: Limit = 20,
) -> ScanPage:
    """Return scans page by page, newest first; `after` is the last scan of the previous page."""
    with opened.producer.engine.connect() as connection:
        found = recent_scans(connection, limit + 1, after or LARGEST_ID)
    page, has_more = found[:limit], len(found) > limit
    return ScanPage(
        scans=[Scan.model_validate(asdict(one)) for one in page],
        next=f"{router.prefix}?limit={limit}&after={page[-1].scan_id}" if has_more else None,
    )


@router.get(
    "/{scan_id}",
    operation_id="get_scan",
    summary="Read a scan",
    response_description="Progress of the scan",
    responses=problems_of_reading(),
)
def get_scan(
    _caller: Annotated[Caller, Depends(caller_with(Scope.READ))], scan_id: RowId, opened: Opened
) -> Scan:
    """Return a scan's progress, with the names of `fakesweep status --json`."""
    with opened.producer.engine.connect() as connection:
        try:
            found = progress(connection, scan_id)
        except ScanError as error:
            raise Problem(
                HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND, f"there is no scan {scan_id}"
            ) from error
    return Scan.model_validate(asdict(found))
