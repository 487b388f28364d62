"""Webhooks and verdicts for tests of delivery, and the states of deliveries."""

from sqlalchemy import Engine

from fakesweep.schema.ledger.webhooks import webhooks
from fakesweep.schema.words import VerdictWord
from tests.integration.ledger.rows import add_model, scan, tuples, value
from tests.support.servers import wait_until
from tests.support.webhook_receiver import SECRET

COUNTS = "SELECT state, count(*) FROM webhook_deliveries GROUP BY state"


def add(engine: Engine, url: str, name: str = "moderation") -> None:
    with engine.begin() as connection:
        webhooks.add_webhook(
            connection, name=name, url=url, secret=SECRET, verdicts=list(VerdictWord)
        )


def judge(engine: Engine, count: int, p_fake: float = 0.9) -> None:
    model = add_model(engine)
    scan(engine, {f"s3://photos/{number}.jpg": {model: p_fake} for number in range(count)})


def states(engine: Engine) -> dict[str, int]:
    return dict(tuples(engine, COUNTS))


def wait_for_states(engine: Engine, **wanted: int) -> None:
    wait_until(lambda: states(engine) == wanted, f"deliveries stand as {wanted}", 20)


def why(engine: Engine) -> str:
    return str(value(engine, "SELECT DISTINCT last_error FROM webhook_deliveries"))
