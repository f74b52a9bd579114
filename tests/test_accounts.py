"""Credentials, accounts and regions, end to end: who signs for which endpoint, and what becomes of expired keys."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest

from gateway.app import Gateway, StartError, open_gateway
from gateway.config import Config
from gateway.log import make_logger
from gateway.pace import Pace
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.signing import Credentials
from tests.issuer import Issuer, refusing, signed_by
from tests.raw import RawServer, raw_server, serve_ok
from tests.stand import REGION
from tests.waiting import until


@asynccontextmanager
async def in_front(
    server: RawServer, endpoints: Mapping[str, Mapping[str, Any]], routes: Mapping[str, Any] = MappingProxyType({})
) -> AsyncIterator[tuple[Gateway, aiohttp.ClientSession]]:
    """A gateway in front of a scripted SageMaker."""
    aws = {"region": REGION, "endpoint_url": server.url}
    config = Config.model_validate({"listen": {"port": 0}, "aws": aws, "endpoints": endpoints, "routes": {**routes}})
    async with (
        open_gateway(config, make_logger(stream=io.StringIO())) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield gateway, session


async def call(gateway: Gateway, session: aiohttp.ClientSession, endpoint: str = "a") -> tuple[int, bytes]:
    """InvokeEndpoint."""
    async with session.post(f"{gateway.url}/endpoints/{endpoint}/invocations", data=b"{}") as response:
        return response.status, await response.read()


async def readiness(gateway: Gateway, session: aiohttp.ClientSession) -> tuple[int, str]:
    """What `/readyz?verbose` says."""
    async with session.get(f"{gateway.url}/readyz?verbose") as response:
        return response.status, await response.text()


async def test_an_expired_token_is_renewed_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 calls at once meet an expired token: the chain is asked once more, and every caller gets an answer."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}")
    async with (
        raw_server(refusing("KEY1")) as server,
        in_front(server, {"a": {"instances": 200, "profile": "issued"}}) as (gateway, session),
    ):
        answers = await asyncio.gather(*[call(gateway, session) for _ in range(200)])

    assert Counter(answers) == {(200, b"ok"): 200}
    assert issuer.asked == 2


async def test_the_renewal_of_keys_is_a_part_of_the_time_a_permit_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the permit waits for that too."""
    Issuer(tmp_path, monkeypatch, "KEY{number}")
    late = 0.0
    observed: list[float] = []
    renew = CredentialSource.renew

    async def dally(source: CredentialSource, rejected: Credentials) -> Credentials:
        nonlocal late
        late += 100
        return await renew(source, rejected)

    def note(_: Pace, seconds: float) -> None:
        observed.append(seconds)

    monkeypatch.setattr(CredentialSource, "renew", dally)
    monkeypatch.setattr(Pace, "observe", note)
    monkeypatch.setattr("gateway.dispatch.perf_counter", lambda: time.perf_counter() + late)
    async with (
        raw_server(refusing("KEY1")) as server,
        in_front(server, {"a": {"instances": 1, "timeout_seconds": 300, "profile": "issued"}}) as (gateway, session),
    ):
        assert await call(gateway, session) == (200, b"ok")

    assert late == 100
    assert [seconds > 100 for seconds in observed] == [True]


@pytest.mark.parametrize("instances", [200, 3])
async def test_failing_credentials_are_refreshed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instances: int
) -> None:
    """200 callers, running or waiting, and a chain that has no other keys: one refresh, and 503 for all of them.

    Nothing of AWS's text reaches them, `/readyz` says what is wrong, and nothing is sent that cannot succeed.
    """
    issuer = Issuer(tmp_path, monkeypatch, "KEY")
    async with (
        raw_server(refusing("KEY")) as server,
        in_front(server, {"a": {"instances": instances, "profile": "issued"}}) as (gateway, session),
    ):
        answers = await asyncio.gather(*[call(gateway, session) for _ in range(200)])
        asked = issuer.asked
        status, verbose = await readiness(gateway, session)
        left = gateway.limiters["a"].statistics()

    assert {status for status, _ in answers} == {503}
    assert {json.loads(body)["code"] for _, body in answers} == {"ServiceUnavailable"}
    assert not any(b"123456789012" in body or b"security token" in body for _, body in answers)
    assert asked == 2
    assert len(server.requests) <= instances
    assert (status, "credentials failed" in verbose, "123456789012" in verbose) == (503, True, False)
    assert (left.running, left.waiting) == (0, 0)


async def test_a_caller_who_leaves_takes_no_refresh_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of 20, whose call had the token renewed, hangs up: the others get their answers all the same."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}")
    async with (
        raw_server(refusing("KEY1")) as server,
        in_front(server, {"a": {"instances": 20, "profile": "issued"}}) as (gateway, session),
    ):
        calls = [asyncio.create_task(call(gateway, session)) for _ in range(20)]
        while not server.requests:
            await asyncio.sleep(0)
        calls[0].cancel()
        answers = await asyncio.gather(*calls[1:])

    assert Counter(answers) == {(200, b"ok"): 19}
    assert issuer.asked == 2


async def test_each_endpoint_is_signed_for_by_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profile and region of an endpoint are those of its signatures; the others go by the chain and `aws.region`."""
    Issuer(tmp_path, monkeypatch, "KEYOFPROFILE")
    endpoints: dict[str, dict[str, Any]] = {
        "a": {"instances": 1},
        "b": {"instances": 1, "profile": "issued", "region": "eu-west-1"},
        "c": {"instances": 1, "region": "cn-north-1"},
    }
    async with raw_server(serve_ok) as server, in_front(server, endpoints) as (gateway, session):
        for name in endpoints:
            assert (await call(gateway, session, name))[0] == 200

    assert [signed_by(request.head) for request in server.requests] == [
        ("AKIAEMULATOR", REGION),
        ("KEYOFPROFILE", "eu-west-1"),
        ("AKIAEMULATOR", "cn-north-1"),
    ]


async def test_a_profile_that_does_not_exist_is_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the profile and says what to do."""
    Issuer(tmp_path, monkeypatch, "KEY")
    async with raw_server(serve_ok) as server:
        with pytest.raises(StartError, match="nobody"):
            async with in_front(server, {"a": {"instances": 1, "profile": "nobody"}}):
                pass


async def test_a_target_without_keys_takes_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken profile refuses at once, and so would have room for everybody: the other target answers them all."""
    (tmp_path / "aws-config").write_text("[profile empty]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    endpoints: dict[str, dict[str, Any]] = {"broken": {"instances": 1, "profile": "empty"}, "whole": {"instances": 4}}
    routes = {
        "r": {"targets": [{"endpoint": name} for name in endpoints]},
        "f": {"targets": [{"endpoint": "broken"}], "fallback": ["whole"]},
    }
    async with raw_server(serve_ok) as server, in_front(server, endpoints, routes) as (gateway, session):
        answers = await asyncio.gather(*[call(gateway, session, name) for name in "rf" for _ in range(50)])
        alone, _ = await call(gateway, session, "broken")
        ready, _ = await readiness(gateway, session)
        async with session.get(f"{gateway.url}/status") as response:
            status = (await response.json())["endpoints"]
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert Counter(answers) == {(200, b"ok"): 100}
    assert (alone, ready) == (503, 200)
    assert (status["whole"]["credentials"], "found none" in status["broken"]["credentials"]) == ("ok", True)
    assert 'sagemaker_gateway_credentials_unusable{endpoint="broken"} 1.0' in metrics
    assert 'sagemaker_gateway_failovers_total{endpoint="broken",reason="credentials"} 100.0' in metrics


async def test_who_leaves_while_keys_are_renewed_is_not_called_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model has seen the call, and nobody wants the answer any more."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}", seconds=0.5)
    async with (
        raw_server(refusing("KEY1")) as server,
        in_front(server, {"a": {"instances": 1, "profile": "issued"}}) as (gateway, session),
    ):
        gone = asyncio.create_task(call(gateway, session))
        await until(lambda: issuer.asked == 2)
        gone.cancel()
        await until(lambda: gateway.limiters["a"].statistics().running == 0)
        status, _ = await call(gateway, session)

    assert (status, len(server.requests)) == (200, 2)


async def test_who_is_cut_off_while_keys_are_renewed_was_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, which says so, and not 424."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}", seconds=1)
    async with (
        raw_server(refusing("KEY1")) as server,
        in_front(server, {"a": {"instances": 1, "profile": "issued"}}) as (gateway, session),
    ):
        waiting = asyncio.create_task(call(gateway, session))
        await until(lambda: issuer.asked == 2)
        await gateway.cut_off()
        status, _ = await waiting
        asked = issuer.answered
        await until(lambda: issuer.answered == 2)  # else the program would outlive its pipes

    assert asked == 1
    assert (status, len(server.requests)) == (503, 1)
