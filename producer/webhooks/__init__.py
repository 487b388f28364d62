"""Applications are told of verdicts: signed, again where that failed, until it is given up."""

from fakesweep.producer.webhooks.delivery_loop import deliver_webhooks

__all__ = ["deliver_webhooks"]
