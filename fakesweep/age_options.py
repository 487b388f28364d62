"""Options that take a duration or a point in time, checked while the command line is parsed."""

from datetime import UTC, datetime

import click

from fakesweep.schema.ages import UNITS, Age, age_of, moment_of
from fakesweep.schema.errors import SourceError

UNITS_HELP = f"Units: {UNITS}."


class AgeOption(click.ParamType[Age]):
    """A duration, such as 90d."""

    name = "age"

    def convert(
        self, value: str | Age, param: click.Parameter | None, ctx: click.Context | None
    ) -> Age:
        """Return the duration; zero is refused."""
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
    """A date or an age, kept as text: an age is resolved when the command runs."""

    name = "moment"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        try:
            moment_of(value, datetime.now(UTC))
        except SourceError as error:
            self.fail(str(error), param, ctx)
        return value
