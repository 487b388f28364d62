"""TLS proxy before plain servers, with a private certificate authority."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

POSTGRES_ASKS_FOR_TLS = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class Authority:
    """A certificate authority: the server's certificate and the clients' trust file."""

    context: ssl.SSLContext
    file: Path


def authority(folder: Path, name: str) -> Authority:
    """Make an authority and its certificate for `localhost`."""
    made = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("localhost").configure_cert(context)
    file = folder / f"{name}.pem"
    made.cert_pem.write_to_path(str(file))
    return Authority(context, file)


@contextmanager
def tls_before(
    context: ssl.SSLContext, *, port: int | None = None, path: Path | None = None
) -> Iterator[int]:
    """Yield the TLS port of a Redis (`port`) or PostgreSQL server (`path`)."""
    listening: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            plain = writer.transport
            try:
                if path is not None:
                    assert await reader.readexactly(8) == POSTGRES_ASKS_FOR_TLS
                    writer.write(b"S")
                    await writer.drain()
                await writer.start_tls(context)
                behind = await (
                    asyncio.open_unix_connection(path)
                    if path is not None
                    else asyncio.open_connection("127.0.0.1", port)
                )
                await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
            except (OSError, EOFError, asyncio.CancelledError):
                pass  # the client is gone or distrusts us, or the proxy ends
            finally:
                plain.abort()

        async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
            number = server.sockets[0].getsockname()[1]
            listening.set_result((asyncio.get_running_loop(), stop, number))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, stop, number = listening.result(10)
    try:
        yield number
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
