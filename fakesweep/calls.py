"""Scans from Python: `fakesweep.scan` and `fakesweep.results`."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fakesweep.extras import library, require_worker_extra
from fakesweep.foreground.run import brought_to_end
from fakesweep.ledger_access import reading
from fakesweep.options import selection_from
from fakesweep.producer.resources import open_producer
from fakesweep.producer.scans import ScanRequest, ask_for_scan
from fakesweep.schema.errors import ScanError
from fakesweep.schema.judging.catalogue import DEFAULT_MODEL, DEFAULT_POLICY, read_catalogue
from fakesweep.schema.ledger.reports.progress import Progress
from fakesweep.schema.ledger.reports.results import RESULT_COLUMNS
from fakesweep.schema.ledger.reports.results import results as read_results
from fakesweep.schema.ledger.scans.names import find_scan
from fakesweep.schema.settings import Settings, read_settings
from fakesweep.schema.words import Lane, ScanState, VerdictWord
from fakesweep.stack import start_stack

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def scan(
    *sources: str,
    model: str | Sequence[str] = (),
    policy: str = DEFAULT_POLICY,
    lane: str = Lane.BULK.value,
    name: str | None = None,
    is_audit: bool = False,
    output: str | None = None,
    token: str | None = None,
    **selection: Any,
) -> Progress:
    """Scan sources as `fakesweep scan` does, and return the scan's progress at its end.

    The arguments are the command's. `selection` takes `include`, `exclude` (sequences of patterns),
    `suffixes`, `since`, `min_size`, `max_size` and `versions`. Without a cluster in the settings,
    the local stack runs the scan with a worker of its own. Failed images are counted in `failed`;
    they raise nothing.

    Raises:
        FakesweepError: the scan cannot start, stopped before its end, or was paused or cancelled;
            the message says how to go on.
        KeyboardInterrupt: the person stopped it; `fakesweep resume` goes on with it.
    """
    settings = read_settings()
    models = (model,) if isinstance(model, str) else tuple(model)
    request = ScanRequest(
        sources,
        models or settings.models or (DEFAULT_MODEL,),
        Lane(lane),
        policy,
        name,
        is_audit=is_audit,
        selection=selection_from(**{key: _hashable(said) for key, said in selection.items()}),
        output=output,
        token=token,
    )
    with_worker = not settings.names_cluster
    if with_worker:
        require_worker_extra()
        settings = start_stack(settings)
    with open_producer(settings, read_catalogue(settings.catalogue)) as producer:
        scan_id = ask_for_scan(producer, request).scan_id
        told = threading.Event()
        with brought_to_end(
            producer, scan_id, told, lambda _: None, with_worker=with_worker
        ) as last:
            if last is None or last.state != ScanState.FINISHED:
                state = "interrupted" if last is None else last.state
                raise ScanError(f"scan {scan_id} is {state}; `fakesweep resume {scan_id}` goes on")
            return last


def results(
    scan: int | str | Progress, *, verdict: str | None = None, only_failed: bool = False
) -> "Results":
    """Return the results of a scan, to iterate over or to convert to a table.

    `scan` is a result of `fakesweep.scan`, a number, a name (the newest scan with it) or "last".
    One row for each image and model, in listing order; pending images have none. `verdict` selects
    one word, `only_failed` the failures.

    Raises:
        ScanError: there is no such scan.
        FakesweepError: the ledger cannot be read.
    """
    settings = read_settings()
    with reading(settings) as connection:
        scan_id = find_scan(connection, scan.scan_id if isinstance(scan, Progress) else scan)
    word = None if verdict is None else VerdictWord(verdict)
    return Results(settings, scan_id, word, only_failed=only_failed)


class Results:
    """The rows of a scan, read from the ledger at each iteration."""

    columns = RESULT_COLUMNS

    def __init__(
        self, settings: Settings, scan_id: int, verdict: VerdictWord | None, *, only_failed: bool
    ) -> None:
        self.scan_id = scan_id
        self._settings = settings
        self._verdict = verdict
        self._only_failed = only_failed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict by column, fetched in pages."""
        with reading(self._settings) as connection:
            for row in read_results(
                connection, self.scan_id, self._verdict, only_failed=self._only_failed
            ):
                yield {column: row[column] for column in self.columns}

    def to_pandas(self) -> "pd.DataFrame":
        """Return all rows as a pandas data frame.

        Raises:
            ExtraError: pandas is not installed.
        """
        frame: pd.DataFrame = library("pandas").DataFrame(list(self), columns=self.columns)
        return frame

    def to_arrow(self) -> "pa.Table":
        """Return all rows as an Arrow table; `scores` is a map from label to score.

        Raises:
            ExtraError: pyarrow is not installed.
        """
        library("pyarrow")
        from fakesweep.arrow import table_of  # noqa: PLC0415 - needs pyarrow

        return table_of(list(self))


def _hashable(said: Any) -> Any:
    return tuple(said) if isinstance(said, list) else said
