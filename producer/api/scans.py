"""Asking how far a scan is."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends

from producer.api.auth import caller_with
from producer.api.documents import problems_of_reading
from producer.api.models import RowId, Scan
from producer.api.problems import Problem, ProblemCode
from producer.api.resources import Opened
from schema.errors import ScanError
from schema.reports import progress
from schema.tokens import Caller, Scope

router = APIRouter(prefix="/v1/scans", tags=["scans"])


@router.get(
    "/{scan_id}",
    operation_id="get_scan",
    summary="Ask how far a scan is",
    response_description="How the scan stands",
    responses=problems_of_reading(),
)
def get_scan(
    _caller: Annotated[Caller, Depends(caller_with(Scope.READ))], scan_id: RowId, opened: Opened
) -> Scan:
    """Return a scan's progress, named as `fakesweep status --json` names it."""
    with opened.producer.engine.connect() as connection:
        try:
            found = progress(connection, scan_id)
        except ScanError as error:
            raise Problem(
                HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND, f"there is no scan {scan_id}"
            ) from error
    return Scan.model_validate(asdict(found))
