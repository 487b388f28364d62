"""What an installation may lack: the parts that come with an extra."""

import importlib
import importlib.util
from typing import Any

from fakesweep.schema.errors import ExtraError, ModelError

WORKER_PARTS = ("torch", "transformers", "PIL", "safetensors")
API_PARTS = ("fastapi", "limits", "python_multipart", "uvicorn")


def require_worker_extra() -> None:
    """Refuse to go on where a worker could not run.

    Raises:
        ModelError: a part is missing; the message says how to install it.
    """
    missing = [part for part in WORKER_PARTS if not _is_installed(part)]
    if missing:
        raise ModelError(
            f"a worker needs {', '.join(missing)}, not installed here; run "
            f"`pip install 'fakesweep[worker]'`, or name a cluster whose workers do the work "
            f"(FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL)"
        )


def require_api_extra() -> None:
    """Refuse to go on where the HTTP API could not run.

    Raises:
        ExtraError: a part is missing; the message says how to install it.
    """
    missing = [part for part in API_PARTS if not _is_installed(part)]
    if missing:
        raise ExtraError(
            f"the API needs {', '.join(missing)}, not installed here; run "
            f"`pip install 'fakesweep[api]'`"
        )


def library(name: str) -> Any:
    """Return a library that only some calls need.

    Raises:
        ExtraError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraError(f"{name} is not installed here; run `pip install {name}`") from error


def _is_installed(part: str) -> bool:
    try:
        return importlib.util.find_spec(part) is not None
    except ImportError:
        return False
