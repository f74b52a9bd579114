"""Key pairs come and go while the emulator runs: an expired one is refused as AWS refuses it, a new one is good."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.emulator import CredentialSettings, Emulator, KeyCounters

from .support import FAST, KEY, SECRET, http, invoke, sdk, settings, stream_of

NEW = {"access_key_id": "ASIANEW", "secret_access_key": "other", "session_token": "a/token=="}
NEW_KEYS = {"aws_access_key_id": "ASIANEW", "aws_secret_access_key": "other", "aws_session_token": "a/token=="}


async def test_keys_are_rotated_under_a_running_caller() -> None:
    """The old pair is 403 ExpiredTokenException at every operation, the new one is served, and each is counted."""
    async with (
        Emulator(settings({"echo": FAST})) as emulator,
        sdk(emulator) as old,
        sdk(emulator, "sagemaker") as control,
        sdk(emulator, **NEW_KEYS) as new,
    ):
        with pytest.raises(ClientError, match="security token included in the request is invalid"):
            await invoke(new, "echo")
        assert await invoke(old, "echo", b"x") == b"x"
        emulator.accept(CredentialSettings.model_validate(NEW))
        emulator.expire(KEY)
        attempts: list[Any] = [
            invoke(old, "echo"),
            stream_of(old, "echo"),
            control.describe_endpoint(EndpointName="echo"),
        ]
        for attempt in attempts:
            with pytest.raises(ClientError) as caught:
                await attempt
            reply = caught.value.response
            assert (reply["ResponseMetadata"]["HTTPStatusCode"], reply["Error"]["Code"]) == (
                403,
                "ExpiredTokenException",
            )
            assert reply["Error"]["Message"] == "The security token included in the request is expired"
        assert await invoke(new, "echo", b"y") == b"y"
        assert emulator.key_counters(KEY) == KeyCounters(expired=True, accepted=1, refused=3)
        assert emulator.key_counters("ASIANEW") == KeyCounters(expired=False, accepted=1, refused=0)
        assert emulator.counters("echo").calls == 2
        emulator.reset()
        assert emulator.key_counters(KEY) == KeyCounters(expired=True, accepted=0, refused=0)
        emulator.accept(CredentialSettings(access_key_id=KEY, secret_access_key=SECRET))
        assert await invoke(old, "echo", b"z") == b"z"


async def test_keys_are_rotated_over_http() -> None:
    """The same under /_emulator/credentials, where no secret is shown."""
    async with (
        Emulator(settings({"echo": FAST})) as emulator,
        sdk(emulator) as old,
        sdk(emulator, **NEW_KEYS) as new,
        http() as session,
    ):
        url = f"{emulator.url}/_emulator/credentials"
        async with session.post(f"{url}/{KEY}/expire") as reply:
            assert await reply.json() == {KEY: {"expired": True, "accepted": 0, "refused": 0}}
        with pytest.raises(ClientError, match="is expired"):
            await invoke(old, "echo")
        async with session.post(url, json=NEW) as reply:
            assert reply.status == 200
        await invoke(new, "echo")
        async with session.get(url) as reply:
            assert await reply.json() == {
                KEY: {"expired": True, "accepted": 0, "refused": 1},
                "ASIANEW": {"expired": False, "accepted": 1, "refused": 0},
            }


async def test_a_key_that_is_none_is_refused() -> None:
    """KeyError and 404 for an unknown id, 400 for a pair that is none, 404 for what is no operation."""
    async with Emulator(settings({"echo": FAST})) as emulator, http() as session:
        for touch in (emulator.expire, emulator.key_counters):
            with pytest.raises(KeyError):
                touch("AKIANOBODY")
        url = f"{emulator.url}/_emulator/credentials"
        for path, order, status in (("/AKIANOBODY/expire", {}, 404), ("", {"key": "a"}, 400), ("/a/b", {}, 404)):
            async with session.post(url + path, json=order) as reply:
                assert reply.status == status
