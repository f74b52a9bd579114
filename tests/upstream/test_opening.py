"""How a connection comes about: over whichever address answers, in TLS where the URL says so, with its own name."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.upstream.connection import Connection
from gateway.upstream.opening import HEAD_START_SECONDS, Opener, Origin, default_context
from tests.certificates import make_certificate
from tests.ports import free_port
from tests.waiting import until

HOST = "localhost"


class Owner:
    """Keeps count of what is open."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()

    def opened(self, connection: Connection) -> None:
        """One more."""
        self.open.add(connection)

    def lost(self, connection: Connection) -> None:
        """One less."""
        self.open.discard(connection)


@contextmanager
def resolving(*addresses: str) -> Iterator[None]:
    """The name service has these addresses for every name; an address is its own."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        found = [host] if host[0].isdigit() else addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        yield


@asynccontextmanager
async def listening(
    address: str, port: int, context: ssl.SSLContext | None = None, greeting: bytes = b""
) -> AsyncIterator[list[str]]:
    """A server there.

    Args:
        address: its address.
        port: its port.
        context: its certificate; None where it speaks no TLS.
        greeting: what it answers to the first byte.

    Yields:
        The names that it was called by, in TLS.
    """
    names: list[str] = []
    if context is not None:
        context.sni_callback = lambda _connection, name, _context: names.append(name)
    open_now = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        await reader.read(1)
        writer.write(greeting)
        writer.transport.abort() if not greeting else writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        open_now -= 1

    async with await asyncio.start_server(serve, address, port, ssl=context):
        yield names
        await until(lambda: not open_now)


@contextmanager
def deaf(address: str, port: int) -> Iterator[None]:
    """An address at which connections are never completed: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the standard library's
            filler.connect_ex((address, port))
        yield


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_whoever_leaves_meanwhile_leaves_no_connection(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """In whichever turn of the loop: what its owner was told of as opened is told of as lost."""

    async def leave() -> None:
        owner, opener, port = Owner(), Opener(default_context()), free_port()
        async with listening("127.0.0.1", port, greeting=b"."):
            for number in range(200):
                opening = asyncio.create_task(opener.open(Origin("127.0.0.1", port, secure=False), owner))
                for _ in range(number % 10):
                    await asyncio.sleep(0)
                opening.cancel()
                await asyncio.wait([opening])
                if not opening.cancelled():
                    opening.result().abort()
            await until(lambda: not owner.open)
        await opener.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(leave())


@asynccontextmanager
async def connected(port: int, *, context: ssl.SSLContext | None = None, host: str = HOST) -> AsyncIterator[str]:
    """A connection; the address it goes to."""
    opener = Opener(context or default_context())
    connection = await opener.open(Origin(host, port, secure=context is not None), Owner())
    try:
        assert connection.usable
        yield connection._transport.get_extra_info("peername")[0]
    finally:
        connection.abort()
        await asyncio.sleep(0)
        await opener.close()


async def test_an_address_that_refuses_is_passed_over() -> None:
    """At once."""
    port = free_port()
    with resolving("127.0.0.2", "127.0.0.1"):
        async with listening("127.0.0.1", port), connected(port) as address:
            assert address == "127.0.0.1"


async def test_an_address_that_says_nothing_holds_nobody_up() -> None:
    """The next one is tried beside it after a moment."""
    port = free_port()
    loop = asyncio.get_running_loop()
    with resolving("127.0.0.2", "127.0.0.1"), deaf("127.0.0.2", port):
        async with listening("127.0.0.1", port):
            started = loop.time()
            async with connected(port) as address:
                assert address == "127.0.0.1"
            assert loop.time() - started >= HEAD_START_SECONDS


async def test_where_nobody_answers_there_is_an_error() -> None:
    """Of the system's own."""
    port = free_port()
    with resolving("127.0.0.2", "127.0.0.1"), pytest.raises(OSError):  # noqa: PT011 - whichever it is
        async with connected(port):
            raise AssertionError


async def test_small_requests_are_not_held_back() -> None:
    """TCP sends what it has (no Nagle)."""
    port = free_port()
    async with listening("127.0.0.1", port):
        opener = Opener(default_context())
        connection = await opener.open(Origin("127.0.0.1", port, secure=False), Owner())
        wire = connection._transport.get_extra_info("socket")
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.abort()
        await opener.close()


def server_context(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server for `localhost`, and a client that trusts it."""
    files = make_certificate(folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    return server, ssl.create_default_context(cafile=files.certificate)


@pytest.mark.parametrize("host", [HOST, f"{HOST}."])
async def test_tls_goes_by_the_name_of_the_host(host: str, tmp_path: Path) -> None:
    """The server is told which name is wanted, without a dot at its end, and shows a certificate for it."""
    server, client = server_context(tmp_path)
    port = free_port()
    with resolving("127.0.0.1"):
        async with listening("127.0.0.1", port, server) as names, connected(port, context=client, host=host):
            assert names == [HOST]


@pytest.mark.parametrize("host", ["models.example", HOST])
async def test_a_certificate_has_to_be_trusted_and_of_that_host(host: str, tmp_path: Path) -> None:
    """One for another host, or of an unknown issuer, is no connection."""
    server, client = server_context(tmp_path)
    port = free_port()
    context = client if host != HOST else default_context()
    with resolving("127.0.0.1"):
        async with listening("127.0.0.1", port, server):
            with pytest.raises(ssl.SSLCertVerificationError):
                async with connected(port, context=context, host=host):
                    raise AssertionError


async def test_an_address_that_fails_in_tls_is_passed_over(tmp_path: Path) -> None:
    """It takes the connection, but what it says is no TLS: the next one may do better."""
    server, client = server_context(tmp_path)
    port = free_port()

    with resolving("127.0.0.2", "127.0.0.1"):
        async with (
            listening("127.0.0.2", port, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            listening("127.0.0.1", port, server),
            connected(port, context=client) as address,
        ):
            assert address == "127.0.0.1"


def test_there_is_one_context_and_it_checks() -> None:
    """Names and issuers are checked; HTTP/1.1 is all that is offered."""
    context = default_context()

    assert context is default_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs() or context.cert_store_stats()
