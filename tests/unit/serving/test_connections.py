"""Bounds of connections and request slots: which connection is closed, and reserved slots."""

import asyncio
import ipaddress
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from fakesweep.schema.ledger.api_tokens import Caller
from fakesweep.schema.words import Scope as TokenScope
from fakesweep.serving import connections, request_slots, token_lookup
from fakesweep.serving import middleware as surroundings
from fakesweep.serving.connections import Connections, group_of
from fakesweep.serving.problems import Problem
from fakesweep.serving.request_slots import RequestSlots

TOKEN = "fsw_" + "A" * 43


@dataclass(eq=False)
class Fake:
    address: str
    since: float = -1_000.0
    is_leaving: bool = False
    is_idle: bool = True
    is_ended: bool = False
    late: str | None = None

    def end(self) -> None:
        self.is_ended = True

    def overdue(self, _now: float) -> str | None:
        return self.late


def filled(table: Connections, *addresses: str, since: float = -1_000.0) -> list[Fake]:
    made = [Fake(address, since) for address in addresses]
    for one in made:
        assert table.add(one)
    return made


async def now() -> float:
    return asyncio.get_running_loop().time()


def test_of_too_many_strangers_at_an_address_the_oldest_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_STRANGERS_FOR_ADDRESS", 2)
    table = Connections(100)
    elsewhere, first, second = filled(table, "192.0.2.2", "192.0.2.1", "192.0.2.1")
    table.prove(first)
    third, _fourth = filled(table, "192.0.2.1", "192.0.2.1", since=0.0)
    assert [one.is_ended for one in (elsewhere, first, second, third)] == [
        False, False, True, False,
    ]  # fmt: skip
    assert len(table) == 4


def test_an_answered_connection_is_closed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_STRANGERS_FOR_ADDRESS", 2)
    table = Connections(100)
    first, second = filled(table, "192.0.2.1", "192.0.2.1")
    second.is_leaving = True
    filled(table, "192.0.2.1", since=0.0)
    assert (first.is_ended, second.is_ended) == (False, True)


def test_a_burst_ends_nobody_who_came_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_STRANGERS_FOR_ADDRESS", 2)
    table = Connections(100)
    came = filled(table, *["192.0.2.1"] * 9, since=0.0)
    assert not any(one.is_ended for one in came)


def test_with_all_places_taken_strangers_are_closed_then_idle_connections() -> None:
    async def run() -> None:
        table = Connections(3)
        busy, idle, stranger = filled(table, "192.0.2.1", "192.0.2.1", "192.0.2.9")
        busy.is_idle = False
        table.prove(busy)
        table.prove(idle)
        [fresh] = filled(table, "192.0.2.8", since=await now())
        assert (busy.is_ended, idle.is_ended, stranger.is_ended) == (False, False, True)
        table.prove(fresh)
        fresh.is_idle = False
        [last] = filled(table, "192.0.2.8", since=await now())
        assert (busy.is_ended, idle.is_ended, fresh.is_ended) == (False, True, False)
        table.prove(last)
        last.is_idle = False
        assert not table.add(Fake("192.0.2.7"))
        assert len(table) == 3

    asyncio.run(run())


def test_the_connections_of_a_trusted_proxy_are_no_strangers() -> None:
    table = Connections(100, [ipaddress.ip_network("10.0.0.0/8")])
    mapped, inside, outside = filled(table, "::ffff:10.1.2.3", "10.1.2.3", "192.0.2.1")
    assert [table.is_stranger(one) for one in (mapped, inside, outside)] == [False, False, True]


def test_an_overdue_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.0)

    async def run() -> None:
        table = Connections(100)
        late, stranger, known = filled(table, "192.0.2.1", "192.0.2.1", "192.0.2.1")
        late.late = "headers did not come to their end"
        table.prove(known)
        known.late = "an answer was not read"
        watching = asyncio.create_task(table.watch())
        while len(table) > 1:  # noqa: ASYNC110 - the table tells nobody
            await asyncio.sleep(0)
        watching.cancel()
        assert (late.is_ended, stranger.is_ended, known.is_ended) == (True, False, True)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_addresses_are_counted_by_what_one_site_has(address: str, group: str) -> None:
    assert group_of(address) == group


def test_strangers_have_places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_slots, "MOST_STRANGERS", 3)
    monkeypatch.setattr(request_slots, "MOST_STRANGERS_FOR_ADDRESS", 2)
    counted = RequestSlots()
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(counted.of_stranger("192.0.2.1"))
        with pytest.raises(Problem), counted.of_stranger("192.0.2.1"):
            pass
        held.enter_context(counted.of_stranger("192.0.2.2"))
        with pytest.raises(Problem), counted.of_stranger("192.0.2.3"):
            pass
    with counted.of_stranger("192.0.2.1"):
        pass


def test_a_token_waits_a_moment_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_slots, "MOST_FOR_TOKEN", 1)

    async def run() -> None:
        counted, order = RequestSlots(), list[str]()

        async def second() -> None:
            async with counted.of_token(b"a"):
                order.append("second")

        async with counted.of_token(b"a"), counted.of_token(b"b"):
            waiting = asyncio.create_task(second())
            await asyncio.sleep(0)
            order.append("first")
        await waiting
        assert order == ["first", "second"]
        assert not counted._tokens

    asyncio.run(run())


async def waiting(scope: Scope, _receive: Receive, send: Send) -> None:
    if "found" not in scope["state"]:
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_strangers_take_no_places_of_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: object) -> Caller:
        return Caller(1, "gallery", frozenset(TokenScope), 600)

    monkeypatch.setattr(request_slots, "MOST_STRANGERS", 2)
    monkeypatch.setattr(token_lookup.Lookup, "caller", found)

    class App:
        state: Any = type("State", (), {"engine": None})

    surrounded = surroundings.EveryRequest(waiting)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = App
        await surrounded(scope, receive, send)

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app=outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            held = [asyncio.create_task(client.get("/")) for _ in range(2)]
            await asyncio.sleep(0)
            stranger = await client.get("/")
            caller = await client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
            for task in held:
                task.cancel()
            return [stranger.status_code, int(stranger.headers["retry-after"]), caller.status_code]

    assert asyncio.run(run()) == [503, 5, 200]
