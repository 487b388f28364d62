"""Option values of a certain form: what has another is wrong usage, before any work."""

from collections.abc import Callable

import click

from fakesweep.schema.errors import FakesweepError

PARQUET = "parquet"
SHELLS = ("bash", "zsh", "fish")


class Written(click.ParamType[str]):
    """Text of one form, as `check` knows it by raising one of our errors."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return what was written."""
        try:
            self._check(value)
        except FakesweepError as error:
            self.fail(str(error), param, ctx)
        return value
