"""Credentials: found by the AWS chain, refreshed ahead of their expiry in the background, never waited for."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import CredentialRetrievalError

from gateway.errors import CREDENTIALS, Refusal
from gateway.log import make_logger
from gateway.sagemaker import credentials as module
from gateway.sagemaker.credentials import CredentialSource, Provider, open_credentials
from gateway.sagemaker.signing import Credentials

SECRET = "the-secret"
TOKEN = "the-token"


class Diary:
    """A log that can be read."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.log = make_logger(style="json", stream=self._stream)

    @property
    def text(self) -> str:
        """All of it."""
        return self._stream.getvalue()

    def events(self) -> list[tuple[str, str]]:
        """Level and event of each line."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [(line["level"], line["event"]) for line in lines]


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


def refusal_of(source: CredentialSource) -> Refusal:
    """Why there is nothing to sign with."""
    with pytest.raises(Refusal) as caught:
        source.current()
    return caught.value


@pytest.fixture
def diary() -> Diary:
    """A log that can be read."""
    return Diary()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which the chain finds nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_the_environment_is_asked(bare: pytest.MonkeyPatch, diary: Diary, token: str | None) -> None:
    """Keys and token of the environment are there before the first use."""
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if token is not None:
        bare.setenv("AWS_SESSION_TOKEN", token)
    async with open_credentials(diary.log) as source:
        assert (source.current(), source.problem) == (Credentials("AKIAENV", SECRET, token), None)
    assert diary.events() == [("info", "credentials_loaded")]


def write_profile(path: Path) -> None:
    """A shared credentials file with two profiles."""
    path.write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = other\n"
        f"[models]\naws_access_key_id = AKIAFILE\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n",
        encoding="utf-8",
    )


async def test_the_profile_is_asked(bare: pytest.MonkeyPatch, diary: Diary, tmp_path: Path) -> None:
    """A profile of the shared credentials file is found by its name."""
    write_profile(tmp_path / "credentials")
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    bare.setenv("AWS_PROFILE", "models")
    async with open_credentials(diary.log) as source:
        assert source.current() == Credentials("AKIAFILE", SECRET, TOKEN)


async def test_keys_that_appear_later_are_found(bare: pytest.MonkeyPatch, diary: Diary, tmp_path: Path) -> None:
    """A gateway that started without keys becomes ready by itself once there are some."""
    bare.setattr(module, "RETRY_SECONDS", 0.001)
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    async with open_credentials(diary.log) as source:
        assert refusal_of(source).row is CREDENTIALS
        write_profile(tmp_path / "credentials")
        async with asyncio.timeout(5):
            while source.problem is not None:
                await asyncio.sleep(0.001)
        assert source.current() == Credentials("AKIADEFAULT", "other")
    assert diary.events() == [("error", "credentials_unusable"), ("info", "credentials_loaded")]


@pytest.mark.usefixtures("bare")
async def test_without_keys_calls_are_refused_and_operators_told(diary: Diary) -> None:
    """The caller learns that the call was not sent, the operator what to do; however often it is tried, once."""
    async with open_credentials(diary.log) as source:
        await source.refresh()
        assert refusal_of(source).row is CREDENTIALS
        assert "AWS_ACCESS_KEY_ID" not in refusal_of(source).message
        assert source.problem is not None
        assert "AWS_ACCESS_KEY_ID" in source.problem
    assert diary.events() == [("error", "credentials_unusable")]


async def test_half_a_key_pair_is_a_problem_that_is_told(bare: pytest.MonkeyPatch, diary: Diary) -> None:
    """What the chain raises does not stop the gateway from starting: it is not ready, and says why."""
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    async with open_credentials(diary.log) as source:
        assert source.problem is not None
        assert "PartialCredentialsError" in source.problem


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


async def test_a_chain_that_hangs_does_not_keep_the_gateway_from_starting(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while it is up, alive, and not ready."""
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AioSession, "get_credentials", hang)
    async with open_credentials(diary.log) as source:
        assert source.problem == "not loaded yet"


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


async def test_the_background_ends_with_the_gateway(diary: Diary) -> None:
    """No task is left."""
    before = asyncio.all_tasks()
    async with open_credentials(diary.log):
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


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
