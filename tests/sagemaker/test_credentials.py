"""Credentials: refreshed ahead of their expiry in the background, never waited for, and replaced where rejected."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from gateway.errors import CREDENTIALS, Refusal
from gateway.sagemaker import credentials as module
from gateway.sagemaker.credentials import CredentialSource, Provider, kept_fresh
from gateway.sagemaker.signing import Credentials
from tests.sagemaker.diary import Diary, refusal_of
from tests.waiting import until

SECRET = "the-secret"
TOKEN = "the-token"


class Service:
    """AWS's security token service, with a clock of its own; botocore's refreshable credentials are the real ones."""

    def __init__(self, *, minutes: float = 60) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.asked = 0
        self.answer: Callable[[], Awaitable[None]] = self._at_once
        self.provider = AioRefreshableCredentials(
            "ASIA0", SECRET, TOKEN, self.now + timedelta(minutes=minutes), self._refresh, "test", lambda: self.now
        )

    async def load(self) -> Provider | None:
        """The chain, which has found these credentials."""
        provider: Provider = self.provider
        return provider

    def pass_time(self, minutes: float) -> None:
        """Move the clock."""
        self.now += timedelta(minutes=minutes)

    async def _refresh(self) -> dict[str, str]:
        self.asked += 1
        await self.answer()
        expiry = self.now + timedelta(minutes=60)
        return {
            "access_key": f"ASIA{self.asked}",
            "secret_key": SECRET,
            "token": TOKEN,
            "expiry_time": expiry.isoformat(),
        }

    async def _at_once(self) -> None:
        """Answer without delay."""

    async def fail(self) -> None:
        """Be out of order."""
        raise ConnectionError("the metadata service is away")


@pytest.fixture
def diary() -> Diary:
    """A log that can be read."""
    return Diary()


async def test_nothing_is_usable_before_the_first_load(diary: Diary) -> None:
    """Whoever asks too early is refused too."""
    source = CredentialSource(Service().load, diary.log)
    assert (refusal_of(source).row, source.problem) == (CREDENTIALS, "not loaded yet")


@pytest.mark.parametrize(("minutes", "asked"), [(44, 0), (46, 1), (51, 1), (61, 1)])
async def test_keys_are_refreshed_in_their_last_quarter_of_an_hour(diary: Diary, minutes: float, asked: int) -> None:
    """Not before, since that would be for nothing; and long before they expire."""
    service = Service(minutes=60)
    source = CredentialSource(service.load, diary.log)
    await source.refresh()
    service.pass_time(minutes)
    await source.refresh()
    assert (service.asked, source.current().access_key_id) == (asked, f"ASIA{asked}")


async def test_nobody_waits_for_a_refresh(diary: Diary) -> None:
    """While one is under way the keys at hand go on being used, and the new ones from the moment they are there."""
    service = Service(minutes=60)
    asked, proceed = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        asked.set()
        await proceed.wait()

    source = CredentialSource(service.load, diary.log)
    await source.refresh()
    service.pass_time(55)
    service.answer = slowly
    refresh = asyncio.create_task(source.refresh())
    await asked.wait()
    assert source.current().access_key_id == "ASIA0"
    proceed.set()
    await refresh
    assert source.current().access_key_id == "ASIA1"


async def test_a_failed_refresh_costs_nothing_until_the_keys_expire(diary: Diary) -> None:
    """From the first failure to the last minute the old keys serve; then calls are refused; then all is well again."""
    service = Service(minutes=60)
    source = CredentialSource(service.load, diary.log)
    await source.refresh()
    service.answer = service.fail
    told = []
    for minutes in (46, 5, 8):  # 14, 9 and 1 minutes are left
        service.pass_time(minutes)
        await source.refresh()
        assert (source.current().access_key_id, source.problem) == ("ASIA0", None)
        told.append(len(diary.events()))
    # botocore itself swallows, and logs, a failure in the first of its two windows.
    assert told == [1, 2, 3]
    service.pass_time(2)
    await source.refresh()
    await source.refresh()
    assert (refusal_of(source).row, source.problem) == (
        CREDENTIALS,
        "the AWS credential chain failed with ConnectionError",
    )
    service.answer = service._at_once
    await source.refresh()
    assert (source.current().access_key_id, source.problem) == ("ASIA6", None)
    assert diary.events() == [
        ("info", "credentials_loaded"),
        ("warning", "credentials_refresh_failed"),
        ("warning", "credentials_refresh_failed"),
        ("error", "credentials_unusable"),
        ("info", "credentials_loaded"),
    ]


async def test_a_refresh_that_hangs_does_not_keep_expired_keys_in_use(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys end at their expiry whatever the refresh does, and a try that takes too long makes room for the next."""
    service = Service(minutes=60)
    source = CredentialSource(service.load, diary.log)
    await source.refresh()
    hangs = asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    service.answer = hang
    service.pass_time(61)
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.05)
    refresh = asyncio.create_task(source.refresh())
    await hangs.wait()
    assert refusal_of(source).row is CREDENTIALS
    assert source.problem is not None
    await refresh
    assert source.problem is not None
    assert source.problem.endswith("TimeoutError")


async def test_what_a_program_of_the_chain_prints_is_told_nobody(diary: Diary) -> None:
    """A credential process that fails may print what it must not; only the kind of failure is shown, or logged."""

    async def load() -> Provider | None:
        raise CredentialRetrievalError(provider="custom-process", error_msg=f"vault token {SECRET} rejected")

    source = CredentialSource(load, diary.log)
    await source.refresh()
    assert source.problem == "the AWS credential chain failed with CredentialRetrievalError"
    assert SECRET not in diary.text


@pytest.mark.parametrize("token", ["token\n", "a\r\nX-Evil: 1", "t\u00f6k", "a b", "\x00"])
async def test_a_token_that_is_no_header_value_is_a_problem(diary: Diary, token: str) -> None:
    """A line break in a mounted secret, a usual slip, must not add headers to a request; the value is told nobody."""

    async def load() -> Provider | None:
        provider: Provider = AioCredentials("AKIA", SECRET, token)
        return provider

    source = CredentialSource(load, diary.log)
    await source.refresh()
    assert refusal_of(source).row is CREDENTIALS
    assert source.problem == (
        "the session token is empty or holds a character that no header may hold, such as a line break"
    )


@pytest.mark.parametrize(("key", "secret", "named"), [("", SECRET, "access key id"), ("AKIA", "", "secret access key")])
async def test_an_empty_half_of_a_key_pair_is_a_problem(diary: Diary, key: str, secret: str, named: str) -> None:
    """Signatures with it would only be refused one by one."""

    async def load() -> Provider | None:
        provider: Provider = AioCredentials(key, secret, None)
        return provider

    source = CredentialSource(load, diary.log)
    await source.refresh()
    assert named in str(source.problem)


async def test_the_background_refreshes_until_the_end(monkeypatch: pytest.MonkeyPatch, diary: Diary) -> None:
    """It goes on after failures, and it ends with the gateway."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    service = Service(minutes=60)
    calm = asyncio.Event()

    async def fail_twice() -> None:
        if service.asked <= 2:
            await service.fail()
        calm.set()

    source = CredentialSource(service.load, diary.log)
    await source.refresh()
    service.answer = fail_twice
    service.pass_time(61)
    task = asyncio.create_task(source.keep_fresh())
    await asyncio.wait_for(calm.wait(), 5)
    while source.problem is not None:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (source.current().access_key_id, service.asked) == ("ASIA3", 3)


@pytest.mark.parametrize("token", ["", None])
async def test_an_empty_token_is_none(diary: Diary, token: str | None) -> None:
    """An empty header would be signed, and refused by AWS."""

    class Keys:
        access_key = "AKIA"
        secret_key = SECRET
        token: Any = None

    class Static:
        async def get_frozen_credentials(self) -> Keys:
            keys = Keys()
            keys.token = token
            return keys

    async def load() -> Static:
        return Static()

    source = CredentialSource(load, diary.log)
    await source.refresh()
    assert source.current().session_token is None


async def test_no_secret_is_logged(diary: Diary) -> None:
    """Loading, rotating and failing tell the id of the key, and nothing else of it."""
    service = Service(minutes=60)
    source = CredentialSource(service.load, diary.log)
    for answer in (service._at_once, service._at_once, service.fail):
        service.answer = answer
        await source.refresh()
        service.pass_time(61)
    await source.refresh()
    assert [word in diary.text for word in ("ASIA1", SECRET, TOKEN)] == [True, False, False]
    assert [word in repr(source.problem) for word in (SECRET, TOKEN)] == [False, False]


class Chain:
    """A chain that gives out what it is told to, and a clock; botocore's static credentials are the real ones.

    Attributes:
        found: the ids of the keys that it finds, one for each run; the last one again and again.
        runs: how often it has been run.
        peak: how many runs there were at a moment.
        door: where a run waits, if it is not open.
        now: the clock, in seconds.
    """

    def __init__(self, *found: str) -> None:
        self.found = list(found)
        self.runs = self._running = self.peak = 0
        self.door = asyncio.Event()
        self.door.set()
        self.now = 1000.0

    async def load(self) -> Provider | None:
        """Run it."""
        self.runs += 1
        self._running += 1
        self.peak = max(self.peak, self._running)
        try:
            await self.door.wait()
            key = self.found.pop(0) if len(self.found) > 1 else self.found[0]
            if not key:
                raise ConnectionError("account 123456789012 is away")
            provider: Provider = AioCredentials(key, SECRET, TOKEN)
            return provider
        finally:
            self._running -= 1

    def source(self, diary: Diary) -> CredentialSource:
        """Who asks it."""
        return CredentialSource(self.load, diary.log, clock=lambda: self.now)


async def loaded(chain: Chain, diary: Diary) -> tuple[CredentialSource, Credentials]:
    """A source with the first keys of the chain."""
    source = chain.source(diary)
    await source.refresh()
    return source, source.current()


async def test_rejected_keys_are_replaced_at_once(diary: Diary) -> None:
    """The chain is run from its start, whatever it thinks of the expiry; nothing is left of the rejection."""
    chain = Chain("AKIAOLD", "AKIANEW")
    source, old = await loaded(chain, diary)

    new = await source.renew(old)

    assert (new, source.current(), source.problem) == (Credentials("AKIANEW", SECRET, TOKEN), new, None)
    assert diary.events() == [("info", "credentials_loaded")] * 2


async def test_temporary_keys_are_replaced_long_before_their_expiry(diary: Diary) -> None:
    """By itself, botocore would not refresh them for another half an hour."""
    first, second = Service(minutes=60), Service(minutes=-1)
    services = [first, second]

    async def load() -> Provider | None:
        return await services.pop(0).load()

    source = CredentialSource(load, diary.log)
    await source.refresh()

    assert (await source.renew(source.current())).access_key_id == "ASIA1"
    assert (first.asked, second.asked, source.problem) == (0, 1, None)


async def test_who_is_late_gets_what_is_there(diary: Diary) -> None:
    """Keys that have been replaced since are no reason to run the chain."""
    chain = Chain("AKIAOLD", "AKIANEW", "AKIAFAR")
    source, old = await loaded(chain, diary)
    new = await source.renew(old)

    assert await source.renew(old) == new
    assert chain.runs == 2


async def test_many_renewals_are_one(diary: Diary) -> None:
    """However many callers wait, the chain is run once, and all have its keys."""
    chain = Chain("AKIAOLD", "AKIANEW", "AKIAFAR")
    source, old = await loaded(chain, diary)
    chain.door.clear()
    renewals = [asyncio.create_task(source.renew(old)) for _ in range(200)]
    await until(lambda: chain.runs == 2)
    chain.door.set()

    assert {credentials.access_key_id for credentials in await asyncio.gather(*renewals)} == {"AKIANEW"}
    assert chain.runs == 2


@pytest.mark.parametrize("leavers", [(0,), (1, 2), (0, 1, 2, 3)])
async def test_who_leaves_takes_nothing_from_the_others(diary: Diary, leavers: tuple[int, ...]) -> None:
    """The renewal belongs to nobody: neither the first caller nor all of them together can cancel it."""
    chain = Chain("AKIAOLD", "AKIANEW")
    source, old = await loaded(chain, diary)
    chain.door.clear()
    renewals = [asyncio.create_task(source.renew(old)) for _ in range(4)]
    await until(lambda: chain.runs == 2)
    for leaver in leavers:
        renewals[leaver].cancel()
    chain.door.set()
    results = await asyncio.gather(*renewals, return_exceptions=True)

    assert [isinstance(result, asyncio.CancelledError) for result in results] == [n in leavers for n in range(4)]
    await until(lambda: source.current().access_key_id == "AKIANEW")
    assert chain.runs == 2


@pytest.mark.parametrize("found", ["AKIAOLD", ""], ids=["the same keys", "a failure"])
async def test_rejected_keys_without_others_are_not_used_for_a_while(diary: Diary, found: str) -> None:
    """200 callers cost one run of the chain, later ones none; after 30 s the keys are tried again, once."""
    service = Service(minutes=60)
    chain = Chain(found)
    loads = [service.load]

    async def load() -> Provider | None:
        return await (loads.pop() if loads else chain.load)()

    service.provider = AioRefreshableCredentials(
        "AKIAOLD", SECRET, TOKEN, service.now + timedelta(minutes=60), service._refresh, "test", lambda: service.now
    )
    source = CredentialSource(load, diary.log, clock=lambda: chain.now)
    await source.refresh()
    old = source.current()

    results = await asyncio.gather(*(source.renew(old) for _ in range(200)), return_exceptions=True)
    assert [result.row for result in results if isinstance(result, Refusal)] == [CREDENTIALS] * 200
    assert (refusal_of(source).row, chain.runs) == (CREDENTIALS, 1)
    with pytest.raises(Refusal):
        await source.renew(old)
    assert chain.runs == 1
    assert source.problem == "AWS does not accept them, and the AWS credential chain has no others"
    assert diary.events().count(("error", "credentials_unusable")) == 1

    chain.now += module.REJECTED_SECONDS - 0.1
    assert refusal_of(source).row is CREDENTIALS
    chain.now += 0.1
    assert source.current() == old
    with pytest.raises(Refusal):
        await source.renew(old)
    assert (chain.runs, refusal_of(source).row) == (2, CREDENTIALS)


async def test_doubted_keys_are_replaced(diary: Diary) -> None:
    """Whoever was refused with old keys has the chain run, once; who is late finds the new ones."""
    chain = Chain("AKIAOLD", "AKIANEW", "AKIAFAR")
    source, old = await loaded(chain, diary)

    await asyncio.gather(*(source.doubt(old) for _ in range(20)))
    await source.doubt(old)

    assert (source.current().access_key_id, source.problem, chain.runs) == ("AKIANEW", None, 2)


async def test_doubted_keys_without_others_go_on(diary: Diary) -> None:
    """The control plane alone stops no call; and it has the chain run once in 30 s, not at each of its readings."""
    chain = Chain("AKIAOLD")
    source, old = await loaded(chain, diary)

    for _ in range(3):
        await source.doubt(old)
    assert (source.current(), source.problem, chain.runs) == (old, None, 2)
    assert diary.events() == [("info", "credentials_loaded")]

    chain.now += module.REJECTED_SECONDS
    await source.doubt(old)
    assert (source.current(), chain.runs) == (old, 3)


@pytest.mark.parametrize("first", ["doubt", "renew"])
async def test_doubts_and_rejections_are_one_renewal(diary: Diary, first: str) -> None:
    """In either order; without other keys it is the rejection that counts."""
    chain = Chain("AKIAOLD")
    source, old = await loaded(chain, diary)
    chain.door.clear()
    both = [source.doubt(old), source.renew(old)]
    tasks = [asyncio.create_task(each) for each in (both if first == "doubt" else reversed(both))]
    await until(lambda: chain.runs == 2)
    chain.door.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["NoneType", "Refusal"]
    assert (refusal_of(source).row, chain.runs) == (CREDENTIALS, 2)


async def test_new_keys_that_are_rejected_too_are_told_without_another_run(diary: Diary) -> None:
    """The data path tries once more and no oftener; the mark is for these keys alone."""
    chain = Chain("AKIAOLD", "AKIANEW", "AKIAFAR")
    source, old = await loaded(chain, diary)
    new = await source.renew(old)

    source.reject(old)
    assert source.current() == new
    source.reject(new)
    source.reject(new)
    assert (refusal_of(source).row, chain.runs) == (CREDENTIALS, 2)
    assert diary.events().count(("error", "credentials_unusable")) == 1
    await source.refresh()
    assert (source.current().access_key_id, source.problem) == ("AKIAFAR", None)


async def test_the_background_looks_for_other_keys(monkeypatch: pytest.MonkeyPatch, diary: Diary) -> None:
    """It does not sleep on while keys are rejected: the chain is run from its start until there are others."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 3600)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    chain = Chain("AKIAOLD", "AKIAOLD", "", "AKIAOLD", "AKIANEW")
    source = chain.source(diary)
    async with kept_fresh((source,)):
        assert chain.runs == 1
        source.reject(source.current())
        await until(lambda: source.problem is None)
        assert (source.current().access_key_id, chain.runs) == ("AKIANEW", 5)


async def test_the_background_waits_before_it_looks_again(monkeypatch: pytest.MonkeyPatch, diary: Diary) -> None:
    """A renewal that found nothing is not repeated in the same moment."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 3600)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600)
    chain = Chain("AKIAOLD")
    source = chain.source(diary)
    async with kept_fresh((source,)):
        with pytest.raises(Refusal):
            await source.renew(source.current())
        for _ in range(50):  # the background takes notice
            await asyncio.sleep(0)
        assert chain.runs == 2


async def test_a_renewal_waits_for_the_background(diary: Diary) -> None:
    """The chain is never run twice at a moment; what the background brings may do."""
    chain = Chain("AKIAOLD", "AKIANEW", "AKIAFAR")
    source, old = await loaded(chain, diary)
    source.reject(old)
    chain.door.clear()
    background = asyncio.create_task(source.refresh())
    await until(lambda: chain.runs == 2)
    chain.now += module.REJECTED_SECONDS
    renewals = [asyncio.create_task(source.renew(old)) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    chain.door.set()
    renewed = await asyncio.gather(*renewals)
    await background

    assert ({keys.access_key_id for keys in renewed}, chain.runs, chain.peak) == ({"AKIANEW"}, 2, 1)


@pytest.mark.parametrize("found", ["AKIANEW", "AKIAOLD", ""], ids=["other keys", "the same keys", "a failure"])
async def test_the_background_joins_a_renewal(diary: Diary, found: str) -> None:
    """Nor the other way round; and it does not look again in the moment in which a renewal has found nothing."""
    chain = Chain("AKIAOLD", found, "AKIAFAR")
    source, old = await loaded(chain, diary)
    chain.door.clear()
    renewal = asyncio.create_task(source.renew(old))
    await until(lambda: chain.runs == 2)
    background = asyncio.create_task(source.refresh())
    await asyncio.sleep(0)
    chain.door.set()
    await background
    (result,) = await asyncio.gather(renewal, return_exceptions=True)

    assert (result == Credentials("AKIANEW", SECRET, TOKEN), isinstance(result, Refusal)) == (
        found == "AKIANEW",
        found != "AKIANEW",
    )
    assert (chain.runs, chain.peak) == (2, 1)


@pytest.mark.parametrize("busy", [False, True], ids=["the chain", "the background"])
async def test_a_renewal_has_an_end(diary: Diary, monkeypatch: pytest.MonkeyPatch, *, busy: bool) -> None:
    """A chain that hangs, for the renewal or for the background before it, keeps no caller for ever."""
    chain = Chain("AKIAOLD")
    source, old = await loaded(chain, diary)
    chain.door.clear()
    tasks = []
    if busy:
        source.reject(old)
        tasks = [asyncio.create_task(source.refresh())]
        await until(lambda: chain.runs == 2)
        chain.now += module.REJECTED_SECONDS
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.05)
    with pytest.raises(Refusal):
        await asyncio.wait_for(source.renew(old), 5)
    chain.door.set()
    await asyncio.gather(*tasks)
    assert source.problem is not None


async def test_what_has_failed_is_looked_for_from_the_start(diary: Diary) -> None:
    """Keys that cannot be refreshed any more, since what they came from has changed, are found anew."""
    service, other = Service(minutes=60), Service(minutes=600)
    services = [service, other]

    async def load() -> Provider | None:
        return await services.pop(0).load()

    source = CredentialSource(load, diary.log)
    await source.refresh()
    service.pass_time(52)
    service.answer = service.fail
    await source.refresh()
    assert (source.current().access_key_id, services) == ("ASIA0", [other])
    await source.refresh()
    assert (services, source.problem) == ([], None)
    service.pass_time(60)
    assert source.problem is None


async def test_a_chain_that_finds_nothing_any_more_costs_nothing_until_the_keys_expire(diary: Diary) -> None:
    """A metadata service that is away looks like none."""
    service = Service(minutes=60)
    loads = [service.load]

    async def load() -> Provider | None:
        return await loads.pop()() if loads else None

    source = CredentialSource(load, diary.log)
    await source.refresh()
    service.pass_time(52)
    service.answer = service.fail
    for _ in range(2):
        await source.refresh()
        assert (source.current().access_key_id, source.problem) == ("ASIA0", None)
    service.pass_time(9)
    await source.refresh()
    assert "found none" in str(source.problem)


async def test_nothing_of_a_renewal_is_left_at_the_end(diary: Diary) -> None:
    """A chain that hangs does not hold the gateway's end."""
    before = asyncio.all_tasks()
    chain = Chain("AKIAOLD")
    async with asyncio.timeout(5), kept_fresh((source := chain.source(diary),)):
        chain.door.clear()
        caller = asyncio.create_task(source.renew(source.current()))
        await until(lambda: chain.runs == 2)
    await asyncio.wait((caller,))
    assert isinstance(caller.exception(), Refusal)
    assert asyncio.all_tasks() == before
