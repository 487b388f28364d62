"""Comparison of the scores with an undisturbed scan of the same photographs."""

from collections.abc import Iterator

from tests.chaos.checks import Check
from tests.chaos.cluster import MODEL, Cluster, lone_worker
from tests.chaos.ledger import Ledger
from tests.chaos.postgres import UNDISTURBED
from tests.chaos.storage import BUCKET

ALIKE = 1e-6
LONGEST_SECONDS = 1_800.0


def check_scores(cluster: Cluster) -> Iterator[Check]:
    """Scan the whole bucket with one undisturbed worker, and compare every score."""
    with lone_worker(cluster) as changes:
        words = ("scan", f"s3://{BUCKET}/", "--model", MODEL, "--json")
        done = cluster.run(*words, seconds=LONGEST_SECONDS, **changes, BATCH_IMAGES="64")
    undisturbed = _scores(Ledger(cluster.postgres, UNDISTURBED))
    disturbed = _scores(cluster.ledger)
    wanted = set(cluster.storage.digests.values())
    apart = [
        max(abs(mine - theirs) for mine, theirs in zip(scores, undisturbed[digest], strict=True))
        for digest, scores in disturbed.items()
        if digest in undisturbed
    ]
    yield Check(
        "an undisturbed run classifies every photograph",
        done.returncode == 0 and undisturbed.keys() == wanted,
        f"{len(undisturbed)} of {len(wanted)} {done.stderr.strip() if done.returncode else ''}",
    )
    exact = sum(difference == 0 for difference in apart)
    yield Check(
        f"every score equals the undisturbed run's (within {ALIKE:g})",
        bool(apart) and max(apart) <= ALIKE,
        f"{exact} of {len(apart)} to the last bit, largest difference {max(apart, default=0):g}",
    )


def _scores(ledger: Ledger) -> dict[str, list[float]]:
    return {digest: [*scores, p_fake] for digest, scores, p_fake in ledger.scores()}
