"""Many callers of one gateway, what each of them saw, and what `/metrics` counted of them."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.caller import Caller, Raw, get
from tests.faults.row import ENDPOINT, Reply
from tests.stand import ACCESS_KEY_ID, SECRET_ACCESS_KEY

INVOKE = f"/endpoints/{ENDPOINT}/invocations"
STREAM = f"/endpoints/{ENDPOINT}/invocations-response-stream"

SECRETS = ("123456789012", "arn:aws", "security token", "127.0.0.1", "models.test", ACCESS_KEY_ID, SECRET_ACCESS_KEY)
"""What no answer of the gateway's own may tell: accounts, AWS's words, addresses, keys."""

COUNTERS = {"requests": "code", "refusals": "reason", "upstream_errors": "error"}
"""Counters of the gateway, and the label by which they are told apart here."""

LONG_BYTES = 1000
PATIENCE_SECONDS = 20.0


@dataclass
class Call:
    """One caller's call.

    Attributes:
        caller: who calls.
        answer: what they see; None as long as they do not read.
    """

    caller: Caller
    answer: asyncio.Task[Reply] | None

    @property
    def over(self) -> bool:
        """Whether the answer is there."""
        return self.answer is not None and self.answer.done()

    async def reply(self) -> Reply:
        """The answer."""
        assert self.answer is not None, "they do not read"
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.answer

    def leave(self) -> None:
        """Hang up in this very turn of the loop."""
        if self.answer is not None:
            self.answer.cancel()
        self.caller.hang_up()

    async def hang_up(self) -> None:
        """Be gone."""
        self.leave()
        if self.answer is not None:
            await asyncio.gather(self.answer, return_exceptions=True)


class Crowd:
    """Callers of the gateway at a URL.

    Args:
        url: where.
        answered: told whenever one has got an answer.
    """

    def __init__(self, url: str, answered: Callable[[], None] = lambda: None) -> None:
        self.url = url
        self._answered = answered
        self.calls: list[Call] = []
        self.replies: Counter[Reply] = Counter()
        self.leaks: set[str] = set()

    async def begin(
        self,
        body: bytes = b"{}",
        *,
        path: str = INVOKE,
        headers: Mapping[str, str] | None = None,
        buffer_bytes: int | None = None,
        reads: bool = True,
    ) -> Call:
        """Have one more call.

        Args:
            body: of the request.
            path: of the request.
            headers: of the request.
            buffer_bytes: as `Caller.connect` has it.
            reads: whether they read the answer; if not, somebody else does, or nobody.
        """
        caller = await Caller.connect(self.url, buffer_bytes=buffer_bytes)
        caller.send("POST", path, body, headers)
        call = Call(caller, asyncio.create_task(self._read(caller)) if reads else None)
        self.calls.append(call)
        return call

    async def call(self, body: bytes = b"{}", *, path: str = INVOKE, headers: Mapping[str, str] | None = None) -> Reply:
        """Have one call, and wait for the answer."""
        return await (await self.begin(body, path=path, headers=headers)).reply()

    def read_on(self, call: Call) -> None:
        """Have somebody read who did not."""
        call.answer = asyncio.create_task(self._read(call.caller))

    async def all_answered(self) -> None:
        """Wait for whoever is still there."""
        for call in self.calls:
            if call.answer is not None and not call.answer.cancelled():
                await call.reply()

    async def close(self) -> None:
        """Have everybody leave."""
        for call in self.calls:
            await call.hang_up()

    async def _read(self, caller: Caller) -> Reply:
        raw = await caller.read()
        reply = told(raw)
        if reply.error:
            text = (raw.head + raw.body).decode("latin-1")
            self.leaks |= {secret for secret in SECRETS if secret in text}
        self.replies[reply] += 1
        self._answered()
        return reply


def told(raw: Raw) -> Reply:
    """What an answer says. One of the gateway's own has to be of the form that AWS SDKs read."""
    headers = raw.headers
    error = headers.get("proxy-status", "").removeprefix("sagemaker-gateway; error=")
    code = headers.get("x-amzn-errortype", "")
    original = None
    if error:
        members = json.loads(raw.body)
        assert members["code"] == code
        assert members["message"]
        assert headers["x-amzn-requestid"] == headers["x-request-id"]
        original = members.get("OriginalStatusCode")
    return Reply(
        status=raw.status,
        code=code,
        error=error,
        original=original,
        retry_after=int(headers.get("retry-after", 0)) >= 1,
        cut=raw.cut,
        body=b"" if error else raw.body if len(raw.body) <= LONG_BYTES else b"%d bytes" % len(raw.body),
    )


async def counted(url: str) -> dict[str, int]:
    """What `/metrics` of a gateway counted, by counter and label; zeros are left out."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families((await get(url, "/metrics")).body.decode()):
        name = family.name.removeprefix("sagemaker_gateway_")
        for sample in family.samples:
            if name in COUNTERS and sample.value:
                found[f"{name} {sample.labels[COUNTERS[name]]}"] += int(sample.value)
    return dict(found)


def answered(counts: Mapping[str, int]) -> int:
    """How many requests were counted."""
    return sum(count for name, count in counts.items() if name.startswith("requests "))
