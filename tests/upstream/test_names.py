"""Addresses: looked up once for all who ask at a time, kept for seconds, used in turn."""

import asyncio
import gc
import socket
from typing import Any

import pytest

from gateway.upstream.names import KEPT_SECONDS, Names
from tests.waiting import until

HOST = "models.example"


class Service:
    """A name service in place of the machine's own.

    Args:
        addresses: what it answers; an error instead.
        gate: it answers when this is set.
    """

    def __init__(self, *addresses: str, error: OSError | None = None) -> None:
        self.addresses = addresses
        self.error = error
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        """As a loop does it."""
        self.asked.append(host)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """What is asked for addresses."""
    service = Service("192.0.2.1", "192.0.2.2", "192.0.2.3")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", service.getaddrinfo)
    return service


async def resolve(names: Names, host: str = HOST) -> list[str]:
    """The addresses, in order."""
    return [str(address[0]) for *_, address in await names.resolve(host, 443)]


async def test_every_address_is_the_first_in_turn(service: Service) -> None:
    """All are always there; the name service is asked once."""
    names = Names()

    found = [await resolve(names) for _ in range(4)]

    assert [each[0] for each in found] == ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]
    assert {frozenset(each) for each in found} == {frozenset(service.addresses)}
    assert service.asked == [HOST]


async def test_all_who_ask_at_a_time_are_told_by_one_look_up(service: Service) -> None:
    """A hundred calls to a name that is not known yet."""
    names = Names()
    service.gate.clear()
    asking = [asyncio.create_task(resolve(names)) for _ in range(100)]
    await asyncio.sleep(0)
    service.gate.set()

    assert {len(found) for found in await asyncio.gather(*asking)} == {3}
    assert service.asked == [HOST]


async def test_names_are_kept_apart(service: Service) -> None:
    """Each is looked up for itself."""
    names = Names()

    await asyncio.gather(resolve(names), resolve(names, "other.example"))

    assert sorted(service.asked) == [HOST, "other.example"]


async def test_addresses_are_looked_up_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """After seconds, and no minutes: load balancers move."""
    assert KEPT_SECONDS <= 10
    names = Names()
    await resolve(names)
    service.addresses = ("192.0.2.9",)
    assert len(await resolve(names)) == 3
    later = asyncio.get_running_loop().time() + KEPT_SECONDS
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: later)
    assert await resolve(names) == ["192.0.2.9"]


async def test_a_failure_is_told_to_all_who_asked_and_is_not_kept(service: Service) -> None:
    """The next one asks again."""
    names = Names()
    service.error = socket.gaierror(-2, "unknown")
    found = await asyncio.gather(*(resolve(names) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [socket.gaierror] * 3
    service.error = None
    assert len(await resolve(names)) == 3
    assert len(service.asked) == 2


async def test_who_loses_patience_leaves_the_look_up_to_others(service: Service) -> None:
    """It is not begun anew each time somebody has had enough; and it serves whoever is still there."""
    names = Names()
    service.gate.clear()
    impatient, patient = [asyncio.create_task(resolve(names)) for _ in range(2)]
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    service.gate.set()

    assert len(await patient) == 3
    assert (impatient.cancelled(), service.asked) == (True, [HOST])


async def test_a_failure_that_nobody_waits_for_is_no_noise(service: Service) -> None:
    """All have lost patience before the name service fails: the log has nothing of it."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    names = Names()
    service.gate.clear()
    service.error = socket.gaierror(-2, "unknown")
    asking = asyncio.create_task(resolve(names))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    service.gate.set()
    await until(lambda: not names._lookups)
    gc.collect()
    assert told == []


async def test_closing_ends_what_is_being_looked_up(service: Service) -> None:
    """No task is left."""
    before = asyncio.all_tasks()
    names = Names()
    service.gate.clear()
    asking = asyncio.create_task(resolve(names))
    await asyncio.sleep(0)

    await names.close()
    await asyncio.wait([asking])

    assert asyncio.all_tasks() == before
