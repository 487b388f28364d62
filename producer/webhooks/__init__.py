"""Webhooks: signed deliveries of verdicts and events, with retries."""

from fakesweep.producer.webhooks.delivery_loop import deliver_webhooks

__all__ = ["deliver_webhooks"]
