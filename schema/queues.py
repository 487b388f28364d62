"""Queue and task names, and Celery's settings as plain data for both ends."""

import ssl
from typing import Any

from fakesweep.schema.settings import Settings
from fakesweep.schema.words import Lane

CLASSIFY_BATCH = "fakesweep.classify_batch"

QUEUES = tuple(lane.value for lane in Lane)
"""The queues in strict priority order."""

LIVE_SLOTS = 4
"""Slots of a worker for live batches, beside `batches_in_flight`."""

_TLS = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
"""The meaning of a bare `rediss://`; `ssl_…` parameters in the URL replace it."""


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return the Celery settings that producer and worker share.

    PostgreSQL is the ledger and messages are hints: there is no result backend, acknowledgement is
    late, and Celery does not retry. `docs/architecture.md` gives the reasons.
    """
    watched = settings.celery_events
    return {
        "broker_url": settings.broker_url,
        "broker_use_ssl": _TLS if (settings.broker_url or "").startswith("rediss:") else False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": {name: {} for name in QUEUES},
        "task_default_queue": Lane.BULK.value,
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure_or_timeout": True,
        "task_send_sent_event": watched,
        "worker_send_task_events": watched,
        "worker_enable_remote_control": watched,
        "worker_pool": "threads",
        "worker_concurrency": settings.batches_in_flight + LIVE_SLOTS,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "visibility_timeout": 600,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 30,
            "queue_order_strategy": "priority",
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    }
