"""Somebody who makes up paths, methods and hosts, request after request: row 30."""

import asyncio
import random
import string
from functools import partial
from urllib.parse import urlsplit

from tests.faults.caller import Raw, get
from tests.faults.crowd import told
from tests.faults.row import Holds, Outcome, Reply, Row
from tests.faults.stage import Stage, on_stage

ALL = 100_000
"""As many as the table says; they take about a minute."""

SOME = 1_000
AT_ONCE = 500
"""How many are sent ahead of their answers."""

METHODS = ("GET", "PUT", "DELETE", "PATCH", "M-SEARCH", "TRACE", "POST")
NOWHERE = Reply(404, "ValidationError", "destination_not_found")


def row(count: int) -> Row:
    """So many of them."""
    return Row(
        number=30,
        scenario=f"{count:,} random paths, methods, hosts",
        callers=on_stage(partial(make_up, count)),
        permit=Holds.NEVER_TAKEN,
        expected=Outcome(
            replies={NOWHERE: count},
            counted={"requests 404": count, "refusals unknown_route": count},
            released=0,
            runs=0,
            promises={"as many series as before": True},
        ),
    )


async def make_up(count: int, stage: Stage) -> None:
    """One caller, on one connection."""
    chance = random.Random(30)
    before = await _series(stage)
    address = urlsplit(stage.gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for start in range(0, count, AT_ONCE):
        number = min(AT_ONCE, count - start)
        writer.write(b"".join(_request(chance) for _ in range(number)))
        for _ in range(number):
            stage.crowd.replies[told(await _answer(reader))] += 1
    writer.close()
    await writer.wait_closed()
    stage.promises["as many series as before"] = await _series(stage) == before


def _request(chance: random.Random) -> bytes:
    method, path, more, host = chance.choice(METHODS), _word(chance), _word(chance), _word(chance)
    return f"{method} /{path}/{more}?{host} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc".encode()


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits, k=12))


async def _answer(reader: asyncio.StreamReader) -> Raw:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in fields)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Raw(head, int(line.split()[1]), headers, body, cut=False)


async def _series(stage: Stage) -> int:
    text = (await get(stage.gateway.url, "/metrics")).body.decode()
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))
