"""Optional dependencies: checks that an extra is installed."""

import importlib
import importlib.util
from typing import Any

from fakesweep.schema.errors import ExtraError, ModelError

WORKER_PACKAGES = ("torch", "transformers", "PIL", "safetensors")
API_PACKAGES = ("fastapi", "limits", "python_multipart", "uvicorn")


def require_worker_extra() -> None:
    """Check that the worker extra is installed.

    Raises:
        ModelError: a package is missing; the message says how to install it.
    """
    missing = [package for package in WORKER_PACKAGES if not _is_installed(package)]
    if missing:
        raise ModelError(
            f"a worker needs {', '.join(missing)}, not installed here; run "
            f"`pip install 'fakesweep[worker]'`, or name a cluster whose workers do the work "
            f"(FAKESWEEP_DATABASE_URL and FAKESWEEP_BROKER_URL)"
        )


def require_api_extra() -> None:
    """Check that the api extra is installed.

    Raises:
        ExtraError: a package is missing; the message says how to install it.
    """
    missing = [package for package in API_PACKAGES if not _is_installed(package)]
    if missing:
        raise ExtraError(
            f"the API needs {', '.join(missing)}, not installed here; run "
            f"`pip install 'fakesweep[api]'`"
        )


def library(name: str) -> Any:
    """Import an optional library.

    Raises:
        ExtraError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraError(f"{name} is not installed here; run `pip install {name}`") from error


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False
