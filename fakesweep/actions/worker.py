"""`fakesweep worker`: one worker process, until a signal stops it."""

from pathlib import Path
from typing import Any

from fakesweep.extras import require_worker_extra
from fakesweep.foreground.worker_process import end_with_stdin
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import read_settings
from fakesweep.stack.keeping import kept_stack


def worker(
    *,
    device: str | None,
    preset: str | None,
    precision: str | None,
    decoding: str | None,
    models: tuple[str, ...],
    batches_in_flight: int | None,
    until_stdin_ends: bool,
    only_scan: int | None,
) -> int:
    """Run a worker: it judges the images of batches."""
    settings = read_settings()
    if until_stdin_ends:
        end_with_stdin(settings.grace_seconds)
    catalogue = read_catalogue(settings.catalogue)
    require_worker_extra()
    wanted: dict[str, Any] = {
        "device": device,
        "preset": preset,
        "precision": precision,
        "decode": decoding,
        "models": tuple(catalogue.model(model).key for model in models) or None,
        "batches_in_flight": batches_in_flight,
    }
    if not settings.names_cluster:
        # On their own stack, a person's worker may read all files that their account may read.
        wanted["file_roots"] = settings.file_roots or (Path("/"),)
    with kept_stack(settings, "worker") as found:
        from fakesweep.workers.app import run_worker  # noqa: PLC0415 - only where torch is known to be there

        return run_worker(
            found.model_copy(
                update={name: value for name, value in wanted.items() if value is not None}
            ),
            only_scan,
        )
