"""Faults of sources: dripping manifests and senseless listings of S3."""

import time
from collections.abc import Callable
from random import Random

from fakesweep.stack.processes import wait_for
from tests.chaos.cluster import LIST_TIMEOUT_SECONDS, Cluster
from tests.chaos.faults import LIMIT_SECONDS, Injected, fault
from tests.chaos.probes import asked, both, moves

_LISTED = """
    SELECT 1 FROM ledger.scans WHERE scan_id = %s AND listed_at IS NOT NULL
"""


@fault(share=2)
def manifest_drips(cluster: Cluster, draw: Random) -> Injected:
    """Drip a manifest past its deadline; other scans must go on."""
    manifest = cluster.storage.add_manifest()
    cluster.storage.tell(fault="drips", share=1.0)
    direct = cluster.storage.server.endpoint_url
    scan_id = cluster.ask_for_scan(manifest, S3_ENDPOINT_URL=direct)
    began, others_move = time.monotonic(), moves(cluster)
    went_on = wait_for(others_move, LIMIT_SECONDS)
    time.sleep(max(0.0, began + LIST_TIMEOUT_SECONDS * draw.uniform(1, 3) - time.monotonic()))
    cluster.storage.tell(fault="", share=0.0)
    return Injected(
        "storage",
        both(_listed(cluster, scan_id), moves(cluster)),
        detail=f"scan {scan_id}",
        complaint=lambda: None if went_on else "no other scan went on meanwhile",
    )


@fault(share=2)
def listing_makes_no_sense(cluster: Cluster, draw: Random) -> Injected:
    """Answer listings with sizes of 2^63, the year 99999, huge ETags, or noise."""
    kind = draw.choice(["nonsense", "no_listing"])
    cluster.storage.tell(fault=kind, share=1.0)
    direct = cluster.storage.server.endpoint_url
    scan_id = cluster.ask_for_scan(cluster.storage.add_prefix(), S3_ENDPOINT_URL=direct)
    time.sleep(draw.uniform(2.0, 6.0))
    cluster.storage.tell(fault="", share=0.0)
    return Injected(
        "storage",
        both(_listed(cluster, scan_id), moves(cluster)),
        limit_seconds=3 * LIMIT_SECONDS,  # boto3's own backoff reaches 20 s
        detail=f"{kind} for scan {scan_id}",
    )


def _listed(cluster: Cluster, scan_id: int) -> Callable[[], bool]:
    return asked(lambda: bool(cluster.ledger.ask(_LISTED, scan_id)))
