"""Causes in logs: the error line is found among the lines of the clean-up."""

import pytest

from fakesweep.stack.processes import cause

INITDB = """\
2026-12-01 12:48:26.670 UTC [17976] FATAL:  could not write to file "x": No space left on device
child process exited with exit code 1
initdb: removing contents of data directory "/h/postgres.unfinished"
"""
DIED = """\
2026-12-01 12:48:26.670 UTC [1] LOG:  starting PostgreSQL 18.0
2026-12-01 12:48:26.671 UTC [3] PANIC:  could not locate a valid checkpoint record at 0/1
2026-12-01 12:48:26.672 UTC [1] LOG:  startup process (PID 3) was terminated by signal 6: Aborted
2026-12-01 12:48:26.673 UTC [1] LOG:  database system is shut down
"""
LOCALE = """\
initdb: error: invalid locale name "x"
initdb: hint: If the locale name is specific to ICU, use --icu-locale.
"""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (INITDB, 'FATAL:  could not write to file "x": No space left on device'),
        (DIED, "PANIC:  could not locate a valid checkpoint record at 0/1"),
        (LOCALE, 'initdb: error: invalid locale name "x"'),
        ("one\n\nanother\n", "another"),
        ("", None),
    ],
)
def test_the_cause_is_the_error_line_and_not_the_clean_up(said: str, why: str | None) -> None:
    assert cause(said) == why
