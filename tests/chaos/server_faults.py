"""Faults of the servers: the broker, the ledger, the storage."""

import contextlib
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import psycopg2
import redis

from fakesweep.stack.processes import wait_for
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Injected, fault
from tests.chaos.ledger import PLANTED_ROW
from tests.chaos.postgres import DATABASE, MAX_CONNECTIONS, USER
from tests.chaos.probes import asked, both, finished, moves

TWO_MINUTES = 120.0
DEADLOCK_SECONDS = 15.0
_STATISTICS_SECONDS = 3.0

_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename = %s AND application_name <> 'chaos'
"""
_TO_STORE = """
    SELECT i.uri FROM ledger.batches b JOIN ledger.images i USING (batch_id)
    WHERE b.state = 'running' ORDER BY b.batch_id
"""
_ADD_CONTENT = """
    INSERT INTO ledger.contents (sha256, size_bytes) VALUES (decode(%s, 'hex'), 1)
    ON CONFLICT DO NOTHING
"""
_PENDING = """
    SELECT i.image_id, i.batch_id FROM ledger.images i JOIN ledger.batches b USING (batch_id)
    WHERE b.state <> 'done'
      AND NOT EXISTS (SELECT FROM ledger.outcomes o WHERE o.image_id = i.image_id)
    ORDER BY i.image_id LIMIT 100
"""
_ADD_ROW = """
    INSERT INTO ledger.outcomes (image_id, scan_id, status, failure_code, failure_message)
    SELECT image_id, scan_id, 'failed', 'unavailable', %s FROM ledger.images WHERE image_id = %s
    ON CONFLICT DO NOTHING
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"


@fault(share=4)
def broker_killed(cluster: Cluster, draw: Random) -> Injected:
    """Kill the broker; it restarts empty."""
    return _broker_gone(cluster, draw.uniform(0.0, 20.0))


@fault(share=1, once=True)
def broker_gone_for_two_minutes(cluster: Cluster, _draw: Random) -> Injected:
    return _broker_gone(cluster, TWO_MINUTES)


@fault(share=3)
def broker_flushed(cluster: Cluster, _draw: Random) -> Injected:
    cluster.broker.client.flushall()
    return Injected("broker", moves(cluster))


@fault(share=3)
def broker_connections_reset(cluster: Cluster, _draw: Random) -> Injected:
    with suppress(redis.RedisError):
        cluster.broker.client.client_kill_filter(_type="normal", skipme=True)
    return Injected("broker", moves(cluster))


@fault(share=2)
def broker_frozen(cluster: Cluster, draw: Random) -> Injected:
    """Freeze the server: connections stay without answers."""
    seconds = draw.uniform(3.0, 15.0)
    cluster.broker.freeze()
    time.sleep(seconds)
    cluster.broker.thaw()
    return Injected("broker", moves(cluster), detail=f"for {seconds:.0f} s")


@fault(share=4)
def ledger_killed(cluster: Cluster, draw: Random) -> Injected:
    return _ledger_gone(cluster, draw.uniform(0.0, 10.0))


@fault(share=2)
def ledger_restarted(cluster: Cluster, draw: Random) -> Injected:
    """Restart in order, as for an upgrade."""
    seconds = draw.uniform(0.0, 4.0)
    cluster.postgres.stop()
    time.sleep(seconds)
    cluster.postgres.start()
    return Injected("ledger", moves(cluster), detail=f"for {seconds:.0f} s")


@fault(share=1, once=True)
def ledger_gone_for_two_minutes(cluster: Cluster, _draw: Random) -> Injected:
    return _ledger_gone(cluster, TWO_MINUTES)


@fault(share=2)
def ledger_frozen(cluster: Cluster, draw: Random) -> Injected:
    """Freeze the server: connections stay without answers."""
    seconds = draw.uniform(3.0, 12.0)
    cluster.postgres.freeze()
    time.sleep(seconds)
    cluster.postgres.thaw()
    return Injected("ledger", moves(cluster), detail=f"for {seconds:.0f} s")


@fault(share=3)
def ledger_connections_ended(cluster: Cluster, _draw: Random) -> Injected:
    [(ended,)] = cluster.ledger.ask(_OTHERS, USER)
    return Injected("ledger", moves(cluster), detail=f"{ended} connections")


@fault(share=2)
def ledger_full(cluster: Cluster, draw: Random) -> Injected:
    """Fill all connections of ordinary users with idle sessions."""
    seconds = draw.uniform(3.0, 10.0)
    ends = time.monotonic() + seconds
    with contextlib.ExitStack() as swarm:
        taken = 0
        while time.monotonic() < ends:
            cluster.ledger.ask(_OTHERS, USER)
            with suppress(psycopg2.OperationalError):
                while taken < MAX_CONNECTIONS:
                    connection = cluster.postgres.connect(DATABASE, USER)
                    swarm.enter_context(contextlib.closing(connection))
                    taken += 1
            time.sleep(0.1)
    return Injected("ledger", moves(cluster), detail=f"{taken} strangers for {seconds:.0f} s")


@fault(share=3)
def ledger_deadlocked(cluster: Cluster, _draw: Random) -> Injected:
    """Write the contents of running batches in the opposite order."""
    before = cluster.ledger.insist(_DEADLOCKS)
    with contextlib.closing(cluster.postgres.connect(DATABASE)) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '3s'")  # the others detect it first
            uris = [uri for (uri,) in cluster.ledger.insist(_TO_STORE)]
            digests = sorted((cluster.storage.digests[uri] for uri in uris), reverse=True)
            half = len(digests) // 2
            for digest in digests[:half]:
                cursor.execute(_ADD_CONTENT, (digest,))
            pid = connection.info.backend_pid
            met = wait_for(lambda: cluster.ledger.insist(_BLOCKED, pid) != [(0,)], DEADLOCK_SECONDS)
            with suppress(psycopg2.errors.DeadlockDetected):
                for digest in digests[half:] if met else ():
                    cursor.execute(_ADD_CONTENT, (digest,))
        connection.rollback()
    wait_for(lambda: cluster.ledger.insist(_DEADLOCKS) != before, _STATISTICS_SECONDS)
    [(now,)], [(then,)] = cluster.ledger.insist(_DEADLOCKS), before
    detail = f"{now - then} deadlocks" if met else "nobody was met"
    return Injected("ledger", moves(cluster), detail=detail)


@fault(share=2)
def ledger_statements_time_out(cluster: Cluster, draw: Random) -> Injected:
    """Set a tiny statement timeout on the server."""
    seconds = draw.uniform(3.0, 12.0)
    with (
        contextlib.closing(cluster.postgres.connect(DATABASE)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"ALTER ROLE {USER} SET statement_timeout = '1ms'")
        cursor.execute(_OTHERS, (USER,))  # new sessions have the setting
        time.sleep(seconds)
        cursor.execute(f"ALTER ROLE {USER} RESET statement_timeout")
        cursor.execute(_OTHERS, (USER,))
    return Injected("ledger", both(_none_is_troubled(cluster), moves(cluster)),
                    detail=f"for {seconds:.0f} s")  # fmt: skip


@fault(share=2)
def ledger_row_from_nowhere(cluster: Cluster, draw: Random) -> Injected:
    """Add an outcome that its batch does not count, as a failure that is retried at the end."""
    pending = cluster.ledger.insist(_PENDING)
    if not pending:
        return Injected("ledger", moves(cluster), detail="nothing was pending")
    image_id, batch_id = draw.choice(pending)
    with (
        contextlib.closing(cluster.postgres.connect(DATABASE)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_ADD_ROW, (PLANTED_ROW, image_id))
        added = cursor.rowcount
    detail = f"{added} for image {image_id}"
    return Injected("ledger", both(finished(cluster, [batch_id]), moves(cluster)), detail=detail)


@fault(share=2)
def storage_errors(cluster: Cluster, draw: Random) -> Injected:
    return _storage_faulty(cluster, "errors", draw)


@fault(share=2)
def storage_slow_down(cluster: Cluster, draw: Random) -> Injected:
    return _storage_faulty(cluster, "slow_down", draw)


@fault(share=2)
def storage_truncated(cluster: Cluster, draw: Random) -> Injected:
    return _storage_faulty(cluster, "truncated", draw)


@fault(share=2)
def storage_stalled(cluster: Cluster, draw: Random) -> Injected:
    return _storage_faulty(cluster, "stalled", draw)


@fault(share=2)
def storage_reset(cluster: Cluster, draw: Random) -> Injected:
    return _storage_faulty(cluster, "reset", draw)


def _broker_gone(cluster: Cluster, seconds: float) -> Injected:
    cluster.broker.kill()
    time.sleep(seconds)
    cluster.broker.start()
    return Injected("broker", moves(cluster), detail=f"for {seconds:.0f} s")


def _ledger_gone(cluster: Cluster, seconds: float) -> Injected:
    cluster.postgres.kill()
    time.sleep(seconds)
    cluster.postgres.start()
    return Injected("ledger", moves(cluster), detail=f"for {seconds:.0f} s")


def _none_is_troubled(cluster: Cluster) -> Callable[[], bool]:
    """Return a probe: every batch that was set aside is stored."""
    return asked(lambda: cluster.ledger.ask("SELECT count(*) FROM batch_troubles") == [(0,)])


def _storage_faulty(cluster: Cluster, kind: str, draw: Random) -> Injected:
    """Fail a share of all requests, for less than an image's fetch deadline."""
    seconds, share = draw.uniform(2.0, 6.0), draw.uniform(0.3, 0.9)
    cluster.storage.tell(fault=kind, share=share)
    time.sleep(seconds)
    cluster.storage.tell(fault="", share=0.0)
    detail = f"{share:.0%} of requests for {seconds:.0f} s"
    return Injected("storage", moves(cluster), detail=detail)
