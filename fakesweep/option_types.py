"""Option values that are checked while the command line is parsed."""

from collections.abc import Callable

import click

from fakesweep.schema.errors import FakesweepError

PARQUET = "parquet"
SHELLS = ("bash", "zsh", "fish")


class Written(click.ParamType[str]):
    """Text that `check` accepts; a FakesweepError it raises becomes a usage error."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        try:
            self._check(value)
        except FakesweepError as error:
            self.fail(str(error), param, ctx)
        return value
