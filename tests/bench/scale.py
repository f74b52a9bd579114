"""Whether a crowd costs each of its members what a few would cost: waiters, connections, streams, endpoints."""

import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from . import crowds, fleets
from .figures import Aim, Figure, Headline, Result, Table
from .growth import FLAT, Series
from .systems import GATEWAY
from .turns import in_turns


@dataclass(frozen=True, slots=True)
class Numbers:
    """How large the crowds are, from small to large.

    Attributes:
        waiters: waiters, and so connections.
        streams: streams at a time.
        endpoints: endpoints in the config.
    """

    waiters: tuple[int, ...]
    streams: tuple[int, ...]
    endpoints: tuple[int, ...]


FULL = Numbers(waiters=(1_000, 10_000), streams=(100, 1_000), endpoints=(1, 100, 1_000))
SHORT = Numbers(waiters=(100, 1_000), streams=(10, 100), endpoints=(1, 10, 100))
MOST_WAITER_BYTES = 10_000
"""The aim: what a waiter takes beside its body, and even with its connection."""

KIB = 1024.0
Found = TypeVar("Found")


async def measure(directory: Path, *, numbers: Numbers, rounds: int) -> Result:
    """Every crowd, small and large, in interleaved rounds.

    Args:
        directory: where configs and logs may be put.
        numbers: how large they are.
        rounds: how many.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    waiting = await _by_number(numbers.waiters, partial(crowds.waiting, directory), rounds)
    streaming = await _by_number(numbers.streams, partial(crowds.streaming, directory), rounds)
    config = await _by_number(numbers.endpoints, partial(fleets.endpoints, directory), rounds)
    queue = _waiting(waiting)
    tables = (
        _table(f"waiters on one endpoint, bodies of {crowds.BODY_BYTES:,} B", list(queue.values()), rounds),
        _table("streams at a time, a part every half second in each", _streaming(streaming), rounds),
        _table("endpoints in the config", _config(config), rounds),
    )
    few, many = numbers.waiters[0], numbers.waiters[-1]
    waiter = Figure(tuple(each.waiter / MOST_WAITER_BYTES for each in waiting[many]))
    whole = Figure(tuple(each.whole / MOST_WAITER_BYTES for each in waiting[many]))
    aims = (
        Aim(f"memory of each of {many:,} waiters, beside {MOST_WAITER_BYTES:,} B", waiter, 1.0),
        Aim(f"the same with their connections, beside {MOST_WAITER_BYTES:,} B", whole, 1.0),
        Aim(f"CPU of an admission, {many:,} waiters beside {few:,}", queue["admit"].growth(), FLAT),
    )
    connection, stream = queue["connection"].points[many], _streaming(streaming)[0].points[numbers.streams[-1]]
    headlines = (
        Headline(f"KiB per waiter of {many:,}", {GATEWAY: queue["waiter"].points[many]}, ".1f", drawn=False),
        Headline(f"KiB per idle connection of {many:,}", {GATEWAY: connection}, ".1f", drawn=False),
        Headline(f"KiB per stream of {numbers.streams[-1]:,}", {GATEWAY: stream}, ".1f", drawn=False),
    )
    return Result(tables, aims, headlines)


async def _by_number(
    numbers: Sequence[int], measured: Callable[[int], Awaitable[Found]], rounds: int
) -> dict[int, list[Found]]:
    async def turn(number: int, _: int) -> Found:
        return await measured(number)

    found = await in_turns(rounds, {str(number): partial(turn, number) for number in numbers}, warm=0)
    return {number: found[str(number)] for number in numbers}


def _points(found: Mapping[int, Sequence[Found]], read: Callable[[Found], float]) -> dict[int, Figure]:
    return {number: Figure(tuple(map(read, each))) for number, each in found.items()}


def _waiting(found: Mapping[int, Sequence[crowds.Waiting]]) -> dict[str, Series]:
    return {
        "connection": Series("KiB per idle connection", _points(found, lambda f: f.connection / KIB)),
        "waiter": Series("KiB per waiter, beside body and connection", _points(found, lambda f: f.waiter / KIB)),
        "whole": Series("KiB per waiter with its connection, beside the body", _points(found, lambda f: f.whole / KIB)),
        "join": Series("CPU µs to join the queue, body read", _points(found, lambda f: f.join)),
        "admit": Series("CPU µs to be admitted, called, answered", _points(found, lambda f: f.admit)),
    }


def _streaming(found: Mapping[int, Sequence[crowds.Streaming]]) -> list[Series]:
    return [
        Series("KiB per stream, with its connections to both sides", _points(found, lambda f: f.stream / KIB)),
        Series("CPU µs per part", _points(found, lambda f: f.part)),
    ]


def _config(found: Mapping[int, Sequence[fleets.Fleet]]) -> list[Series]:
    return [
        Series("start-up, s", _points(found, lambda f: f.start), per_head=False, form=".2f"),
        Series("start-up, s of CPU", _points(found, lambda f: f.start_cpu), per_head=False, form=".2f"),
        Series("scrape, ms", _points(found, lambda f: f.scrape), per_head=False),
        Series("scrape, ms of CPU", _points(found, lambda f: f.scrape_cpu), per_head=False),
        Series("scrape, KiB", _points(found, lambda f: f.scraped / KIB), per_head=False, form=",.0f"),
        Series("resident MiB", _points(found, lambda f: f.resident / KIB / KIB), per_head=False),
        Series("CPU µs per request", _points(found, lambda f: f.request), form=".0f"),
    ]


def _table(title: str, rows: Sequence[Series], rounds: int) -> Table:
    return Table(
        title=f"Scale: {title}",
        columns=("", *(f"{number:,}" for number in sorted(rows[0].points)), "growth"),
        rows=[series.row() for series in rows],
        note=f"{rounds} interleaved rounds, each with a gateway of its own for each number. What is per head is flat "
        f"if it is at most {FLAT:g} times as much for the most as for the fewest; what is for all is linear if each "
        "one more adds about the same.",
    )
