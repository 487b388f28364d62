"""Recovery probes after a fault."""

from collections.abc import Callable, Collection

import psycopg2

from tests.chaos.cluster import Cluster


def asked(question: Callable[[], bool]) -> Callable[[], bool]:
    """Wrap a probe to return False while the ledger is away."""

    def answer() -> bool:
        try:
            return question()
        except psycopg2.Error:
            return False

    return answer


def moves(cluster: Cluster) -> Callable[[], bool]:
    """Return a probe: since now every worker has claimed a batch, and an image has an outcome."""
    before, outcomes = cluster.ledger.taken_up(), cluster.ledger.outcomes()

    def moved() -> bool:
        at_work = {pid for pid, _, _ in cluster.ledger.taken_up() - before}
        everybody = {worker.pid for worker in cluster.workers}
        return everybody <= at_work and cluster.ledger.outcomes() > outcomes

    return asked(moved)


def finished(cluster: Cluster, batches: Collection[int]) -> Callable[[], bool]:
    """Return a probe: these batches are done; without any, work moves."""
    if not batches:
        return moves(cluster)
    return asked(lambda: cluster.ledger.left_of(batches) == 0)


def published(cluster: Cluster) -> Callable[[], bool]:
    """Return a probe: since now a batch was published, and one was claimed."""
    [(since,)] = cluster.ledger.insist("SELECT clock_timestamp()")
    query = "SELECT 1 FROM ledger.batches WHERE published_at > %s LIMIT 1"
    return both(asked(lambda: bool(cluster.ledger.ask(query, since))), moves(cluster))


def both(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    """Return a probe: both hold at once."""
    return lambda: one() and other()
