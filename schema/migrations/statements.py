"""How a migration runs the statements of the file beside it."""

from importlib import resources

from alembic import op


def run_file(name: str) -> None:
    """Run every statement of a file among the versions."""
    versions = resources.files("fakesweep.schema.migrations.versions")
    run(versions.joinpath(name).read_text("utf-8"))


def run(statements: str) -> None:
    """Run statements as they are: no character of theirs stands for a parameter."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
