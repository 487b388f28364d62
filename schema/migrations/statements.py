"""SQL files of migrations: runs a whole file or one of its statements."""

import re
from importlib import resources

from alembic import op


def run_file(name: str) -> None:
    """Run every statement of a file in `versions/`."""
    run(_text(name))


def run(statements: str) -> None:
    """Run SQL literally, without parameters."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def statement_of(file: str, what: str, end: str = ";") -> str:
    """Return the statement of a file that makes a view or function, as CREATE OR REPLACE.

    Raises:
        LookupError: the file makes no such thing.
    """
    found = re.search(rf"{re.escape(what)}.*?{re.escape(end)}", _text(file), re.DOTALL)
    if found is None:
        raise LookupError(f"{file} makes no {what}")
    return f"CREATE OR REPLACE {found[0]}"


def _text(name: str) -> str:
    versions = resources.files("fakesweep.schema.migrations.versions")
    return versions.joinpath(name).read_text("utf-8")
