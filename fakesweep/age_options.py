"""Options that take a length of time or a moment: one grammar, checked before anything is done."""

from datetime import UTC, datetime

import click

from fakesweep.schema.ages import UNITS, Age, age_of, moment_of
from fakesweep.schema.errors import SourceError

UNITS_HELP = f"Units: {UNITS}."


class AgeOption(click.ParamType[Age]):
    """A length of time."""

    name = "age"

    def convert(
        self, value: str | Age, param: click.Parameter | None, ctx: click.Context | None
    ) -> Age:
        """Return what was written; nothing at all is no length of time."""
        if isinstance(value, Age):
            return value
        try:
            age = age_of(value)
            age.after(datetime.now(UTC))
        except SourceError as error:
            self.fail(str(error), param, ctx)
        if age == Age():
            self.fail(f"{value!r} is no length of time: it is over at once", param, ctx)
        return age


class MomentOption(click.ParamType[str]):
    """A date, or an age that is counted later: the text, known to make sense."""

    name = "moment"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return what was written."""
        try:
            moment_of(value, datetime.now(UTC))
        except SourceError as error:
            self.fail(str(error), param, ctx)
        return value
