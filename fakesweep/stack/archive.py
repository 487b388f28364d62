"""Backup and restore of the local stack's database, by pg_dump and pg_restore."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakesweep.schema.errors import StackError
from fakesweep.schema.settings import Settings
from fakesweep.stack import cluster, explained_home, migrate, postgres

_INCOMING = f"{postgres.DATABASE}_incoming"
_REPLACED = f"{postgres.DATABASE}_replaced"


def back_up(settings: Settings, database_url: str, file: Path) -> int:
    """Dump the database into a new file that only its owner can read; return its size in bytes.

    The dump is one snapshot, and scans may run meanwhile.

    Raises:
        StackError: the file exists or cannot be written, or the settings name a database.
    """
    _only_local(settings)
    file = Path(os.path.abspath(file))  # noqa: PTH100 - links stay as written
    with _written_whole(file) as unfinished:
        words = ["--format=custom", f"--file={unfinished}", f"--dbname={database_url}"]
        cluster.run_program("pg_dump", words, None)
    return file.stat().st_size


def check_backup(settings: Settings, file: Path) -> None:
    """Check that a file is a backup.

    Raises:
        StackError: the file cannot be read or is no backup, or the settings name a database.
    """
    _only_local(settings)
    if not file.is_file():
        raise StackError(f"{file} is no file")
    try:
        cluster.run_program("pg_restore", ["--list", str(file.resolve())], None)
    except StackError as error:
        raise StackError(f"{file} is no backup: {error}") from error


def restore(settings: Settings, file: Path) -> None:
    """Replace the database by a backup, all or nothing. The server must run.

    The backup is restored into a second database and migrated to this version's schema, and the two
    swap names. On an error the database is unchanged.

    Raises:
        StackError: the file is no backup, or cannot be restored.
        MigrationError: a newer fakesweep wrote the backup.
    """
    with explained_home(settings.home) as home:
        server = postgres.url(home, "postgres")
        incoming = postgres.url(home, _INCOMING)
        _run(server, f"DROP DATABASE IF EXISTS {_INCOMING} WITH (FORCE)")
        _run(server, f"CREATE DATABASE {_INCOMING} TEMPLATE template0")
        try:
            words = ["--exit-on-error", "--no-owner", f"--dbname={incoming}", str(file.resolve())]
            cluster.run_program("pg_restore", words, None)
            _run(incoming, "SELECT CAST('ledger.scans' AS regclass)")
            migrate(incoming)
            _run(server, f"DROP DATABASE IF EXISTS {_REPLACED} WITH (FORCE)")
            _replace(server)
        except BaseException:
            _run(server, f"DROP DATABASE IF EXISTS {_INCOMING} WITH (FORCE)")
            raise
        _run(server, f"DROP DATABASE {_REPLACED} WITH (FORCE)")


def _replace(server: str) -> None:
    """Swap the databases' names in one transaction, after ending all connections to them."""
    names = f"'{postgres.DATABASE}', '{_INCOMING}'"
    leave = (
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN ({names})"  # noqa: S608 - our own words
    )
    change = (
        f"BEGIN; ALTER DATABASE {postgres.DATABASE} RENAME TO {_REPLACED}; "
        f"ALTER DATABASE {_INCOMING} RENAME TO {postgres.DATABASE}; COMMIT"
    )
    _run(server, leave, change)


def _run(server: str, *statements: str) -> None:
    words = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={server}"]
    cluster.run_program("psql", [*words, *(f"--command={one}" for one in statements)], None)


@contextmanager
def _written_whole(file: Path) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to `file` once complete."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        if file.exists():
            raise StackError(f"{file} exists; give the backup another name, or remove it")
        try:
            yield unfinished
            unfinished.rename(file)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise StackError(f"{file} cannot be written: {error.strerror}") from error


def _only_local(settings: Settings) -> None:
    if settings.database_url is not None:
        raise StackError(
            "FAKESWEEP_DATABASE_URL names a server of your own; back it up and restore it by its "
            "own `pg_dump` and `pg_restore` (docs/operating.md)"
        )
