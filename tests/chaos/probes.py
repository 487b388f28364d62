"""How a run tells that work goes on after a fault."""

from collections.abc import Callable, Collection

import psycopg2

from tests.chaos.cluster import Cluster


def asked(question: Callable[[], bool]) -> Callable[[], bool]:
    """Return the question, answered with no while the ledger is away."""

    def answer() -> bool:
        try:
            return question()
        except psycopg2.Error:
            return False

    return answer


def moves(cluster: Cluster) -> Callable[[], bool]:
    """Tell whether, since now, every worker has taken a batch up, and an image has ended."""
    before, outcomes = cluster.ledger.taken_up(), cluster.ledger.outcomes()

    def moved() -> bool:
        at_work = {pid for pid, _, _ in cluster.ledger.taken_up() - before}
        everybody = {worker.pid for worker in cluster.workers}
        return everybody <= at_work and cluster.ledger.outcomes() > outcomes

    return asked(moved)


def finished(cluster: Cluster, batches: Collection[int]) -> Callable[[], bool]:
    """Tell whether these batches are done; where there are none, whether work moves."""
    if not batches:
        return moves(cluster)
    return asked(lambda: cluster.ledger.left_of(batches) == 0)


def published(cluster: Cluster) -> Callable[[], bool]:
    """Tell whether, since now, a producer has published a batch, and one has been taken up."""
    [(since,)] = cluster.ledger.insist("SELECT clock_timestamp()")
    query = "SELECT 1 FROM ledger.batches WHERE published_at > %s LIMIT 1"
    return both(asked(lambda: bool(cluster.ledger.ask(query, since))), moves(cluster))


def both(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    """Tell whether both are true at the same time."""
    return lambda: one() and other()
