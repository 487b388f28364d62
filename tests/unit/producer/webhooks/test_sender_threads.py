"""Sender threads: limits of deliveries, and rests of failing receivers."""

import threading

import pytest

from fakesweep.producer.webhooks.request import ReceiverAnswer, check_url
from fakesweep.producer.webhooks.retry_schedule import RetrySchedule
from fakesweep.producer.webhooks.sender_threads import Attempt, Senders
from fakesweep.schema.errors import WebhookError
from fakesweep.schema.ledger.webhooks.deliveries import Delivery
from tests.support.servers import wait_until
from tests.unit.producer.webhooks.deliveries import delivery

GOOD = ReceiverAnswer(204, "204 No Content")
BAD = ReceiverAnswer(500, "500 Internal Server Error")
SLOW_TO_FORGIVE = RetrySchedule(at_once=3, first_rest_seconds=3_600.0, longest_rest_seconds=3_600.0)
QUICK_TO_FORGIVE = RetrySchedule(at_once=3, first_rest_seconds=0.0)


def _collected(senders: Senders, count: int) -> list[Attempt]:
    endings: list[Attempt] = []

    def has_all() -> bool:
        endings.extend(senders.collect())
        return len(endings) == count

    wait_until(has_all, "the deliveries ended", 5)
    return endings


def test_deliveries_in_hand_are_limited_for_each_webhook() -> None:
    go_on = threading.Event()

    def send(_: Delivery) -> ReceiverAnswer:
        go_on.wait(10)
        return GOOD

    senders = Senders(send, SLOW_TO_FORGIVE)
    for number in range(2):
        senders.begin(delivery(delivery_id=number))
    assert (senders.free(), senders.in_hand) == ({1: 1}, 2)
    senders.begin(delivery(delivery_id=2))
    assert senders.free() == {1: 0}
    go_on.set()
    assert {one.answer for one in _collected(senders, 3)} == {GOOD}
    assert (senders.free(), senders.in_hand) == ({}, 0)


def test_a_receiver_that_fails_rests_and_others_do_not() -> None:
    senders = Senders(lambda one: BAD if one.webhook_id == 1 else GOOD, SLOW_TO_FORGIVE)
    senders.begin(delivery())
    senders.begin(delivery(webhook_id=2))
    _collected(senders, 2)
    assert senders.free() == {1: 0}


def test_after_its_rest_a_receiver_is_asked_with_one_delivery_until_it_takes_one() -> None:
    answers = [BAD, BAD, GOOD]
    senders = Senders(lambda _: answers.pop(0), QUICK_TO_FORGIVE)
    for _ in range(2):
        senders.begin(delivery())
        _collected(senders, 1)
        assert senders.free() == {1: 1}
    senders.begin(delivery())
    assert senders.free() == {1: 0}
    _collected(senders, 1)
    assert senders.free() == {}


def test_deliveries_sent_before_a_rest_count_as_no_new_failures() -> None:
    senders = Senders(lambda _: BAD, SLOW_TO_FORGIVE)
    for _ in range(3):
        senders.begin(delivery())
    _collected(senders, 3)
    assert [one.failures for one in senders._receivers.values()] == [1]


def test_an_unexpected_error_fails_its_own_delivery_only() -> None:
    def send(_: Delivery) -> ReceiverAnswer:
        raise RuntimeError("hush")

    senders = Senders(send, SLOW_TO_FORGIVE)
    senders.begin(delivery())
    [ending] = _collected(senders, 1)
    assert not ending.answer.is_delivered
    assert ending.answer.reason == "it cannot be sent (RuntimeError)"


@pytest.mark.parametrize(
    ("status", "is_delivered"),
    [
        (200, True),
        (204, True),
        (299, True),
        (199, False),
        (301, False),
        (410, False),
        (None, False),
    ],
)
def test_any_2xx_delivers_and_nothing_else(status: int | None, *, is_delivered: bool) -> None:
    assert ReceiverAnswer(status, "").is_delivered == is_delivered


def test_an_address_is_told_over_http_alone_and_in_one_spelling() -> None:
    assert check_url("HTTPS://Hooks.Example.org/x#part") == "https://hooks.example.org/x"
    for text in ("s3://bucket/key", "hooks.example.org/x", "file:///etc/passwd", ""):
        with pytest.raises(WebhookError, match=r"https:// or http://"):
            check_url(text)


def test_an_address_with_credentials_is_refused_and_not_repeated() -> None:
    with pytest.raises(WebhookError, match="credentials") as refused:
        check_url("https://me:hush@hooks.example.org/")
    assert "hush" not in str(refused.value)
