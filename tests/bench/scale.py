"""Whether a crowd costs each of its members what a few would cost: waiters, connections, streams, endpoints."""

import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from . import crowds, fleets
from .figures import Aim, Figure, Result, Table
from .growth import FLAT, Series
from .turns import in_turns

WAITERS = (1_000, 3_000, 10_000)
STREAMS = (100, 300, 1_000)
ENDPOINTS = (1, 100, 1_000)
MOST_WAITER_BYTES = 10_000
"""The aim: what a waiter takes beside its body, its connection included."""

KIB = 1024.0
Found = TypeVar("Found")


async def measure(directory: Path, *, rounds: int) -> Result:
    """Every crowd, small and large, in interleaved rounds.

    Args:
        directory: where configs and logs may be put.
        rounds: how many.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    waiting = await _by_number(WAITERS, partial(crowds.waiting, directory), rounds)
    streaming = await _by_number(STREAMS, partial(crowds.streaming, directory), rounds)
    config = await _by_number(ENDPOINTS, partial(fleets.endpoints, directory), rounds)
    queue = _waiting(waiting)
    tables = (
        _table(f"waiters on one endpoint, bodies of {crowds.BODY_BYTES:,} B", WAITERS, list(queue.values()), rounds),
        _table("streams at a time, a part every half second in each", STREAMS, _streaming(streaming), rounds),
        _table("endpoints in the config", ENDPOINTS, _config(config), rounds),
    )
    whole = Figure(tuple(each.whole / MOST_WAITER_BYTES for each in waiting[WAITERS[-1]]))
    few, many = WAITERS[0], WAITERS[-1]
    aims = (
        Aim(f"memory of each of {many:,} waiters and its connection, beside {MOST_WAITER_BYTES:,} B", whole, 1.0),
        Aim(f"CPU of an admission, {many:,} waiters beside {few:,}", queue["admit"].growth(), FLAT),
    )
    return Result(tables, aims)


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
        Series("scrape, ms", _points(found, lambda f: f.scrape), per_head=False),
        Series("scrape, KiB", _points(found, lambda f: f.scraped / KIB), per_head=False, form=",.0f"),
        Series("resident MiB", _points(found, lambda f: f.resident / KIB / KIB), per_head=False),
        Series("CPU µs per request", _points(found, lambda f: f.request), form=".0f"),
    ]


def _table(title: str, numbers: Sequence[int], rows: Sequence[Series], rounds: int) -> Table:
    return Table(
        title=f"Scale: {title}",
        columns=("", *(f"{number:,}" for number in numbers), "growth"),
        rows=[series.row() for series in rows],
        note=f"{rounds} interleaved rounds, each with a gateway of its own for each number. What is per head is flat if "
        f"it is at most {FLAT:g} times as much for the most as for the fewest; what is for all is linear if each one more "
        "adds about the same.",
    )
