"""What callers do whose calls meet an expired token: rows 12 and 13."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.sagemaker import credentials
from tests.faults.caller import get
from tests.faults.crowd import SECRETS
from tests.faults.row import Outcome, Player, Row
from tests.faults.stage import Stage, on_stage
from tests.issuer import EXPIRED, Issuer, signed_by
from tests.raw import OK, Peer
from tests.waiting import until

PROFILE = "issued"
RETRY_SECONDS = 0.05
"""How long the background waits before it asks for other keys: in earnest 2 s, in which the row would only wait."""

READY_SECONDS = 10.0

CALLERS = 200
RUNNING = 3


def issued(act: Callable[[Stage, Issuer], Awaitable[None]], key: str, seconds: float = 0) -> Player:
    """Have callers act before a gateway whose keys come from an issuer.

    Args:
        act: what they do.
        key: as `Issuer` has it.
        seconds: likewise.
    """

    async def play(row: Row) -> Outcome:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            issuer = Issuer(Path(folder), patch, key, seconds)
            patch.setattr(credentials, "RETRY_SECONDS", RETRY_SECONDS)

            async def with_issuer(stage: Stage) -> None:
                await act(stage, issuer)

            return await on_stage(with_issuer)(replace(row, endpoint={**row.endpoint, "profile": PROFILE}))

    return play


async def refuses_when_told(peer: Peer) -> None:
    """Take the first keys for expired, when the gate lets it; serve all others at once."""
    while True:
        request = await peer.request()
        if signed_by(request.head)[0] == "KEY1":
            await peer.server.gate.acquire()
            await peer.send(EXPIRED)
        else:
            await peer.send(OK)


async def meets_an_expired_token(stage: Stage, issuer: Issuer) -> None:
    """One call, which is tried with other keys."""
    await stage.crowd.call()
    stage.promises["one forced refresh"] = issuer.asked == 2


async def meets_expired_tokens_only(stage: Stage, issuer: Issuer) -> None:
    """One call, for which there are no good keys at first."""
    await stage.crowd.call()
    refreshes = issuer.asked - 1
    ready = await get(stage.gateway.url, "/readyz?verbose")
    text = ready.body.decode()
    stage.promises["/readyz says so, and nothing of AWS's text"] = (
        ready.status == 503 and "[-] credentials failed" in text and not any(secret in text for secret in SECRETS)
    )
    stage.promises["one forced refresh"] = refreshes == 1
    async with asyncio.timeout(READY_SECONDS):
        while (await get(stage.gateway.url, "/readyz")).status != 200:
            pass
    stage.promises["/readyz says when it is over"] = True


async def wait_for_other_keys(stage: Stage, issuer: Issuer) -> None:
    """200 callers, of whom three run into an expired token; one of these leaves while others are asked for."""
    first = await stage.crowd.begin()
    await stage.until_sent(1)
    for _ in range(CALLERS - 1):
        await stage.crowd.begin()
    await stage.until_held(running=RUNNING, waiting=CALLERS - RUNNING)
    for _ in range(RUNNING):
        stage.far_end.gate.release()
    await until(lambda: issuer.asked == 2)
    await first.hang_up()
    await stage.until_held(orphaned=1)
    stage.note_permits()
    await stage.crowd.all_answered()
    stage.promises["one refresh"] = issuer.asked == 2
