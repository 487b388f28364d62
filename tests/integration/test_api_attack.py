"""HTTP API under attack: honest clients are answered during a short `python -m tests.attack`."""

import pytest

from tests.attack.attackers import ATTACKS
from tests.attack.run import under_attack
from tests.support.api_server import Serving


@pytest.mark.parametrize("sort", ATTACKS)
def test_honest_clients_are_answered_while_others_attack(serving: Serving, sort: str) -> None:
    survived = under_attack(serving, sort, seconds=3, share=0.3)
    assert set(survived.noted.statuses) <= {"200", "202"}, survived.line()
    assert survived.noted.within(0.99) < 20, survived.line()
    assert "Traceback" not in serving.api.log.read_text()
