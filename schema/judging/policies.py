"""Policies: two cut points that turn a score into a verdict, stored apart from the scores."""

from dataclasses import dataclass

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.words import VerdictWord


@dataclass(frozen=True, slots=True)
class Policy:
    """A named pair of cut points on `p_fake`, both in [0, 1].

    Below `real_below` is real, above `fake_above` is fake, all between is uncertain.
    """

    name: str
    real_below: float
    fake_above: float

    def __post_init__(self) -> None:
        """Validate the cut points.

        Raises:
            CatalogueError: the cut points are not 0 ≤ real_below ≤ fake_above ≤ 1.
        """
        if not 0.0 <= self.real_below <= self.fake_above <= 1.0:
            raise CatalogueError(
                f"policy {self.name!r} needs 0 <= real_below <= fake_above <= 1, "
                f"but has real_below = {self.real_below}, fake_above = {self.fake_above}"
            )

    def judge(self, p_fake: float) -> VerdictWord:
        """Return the verdict for a fake probability, like the SQL function `judge`."""
        if p_fake < self.real_below:
            return VerdictWord.REAL
        if p_fake > self.fake_above:
            return VerdictWord.FAKE
        return VerdictWord.UNCERTAIN


BUILT_IN = {
    policy.name: policy for policy in (Policy("default", 0.2, 0.8), Policy("card", 0.5, 0.5))
}
"""The policies of every new ledger."""
