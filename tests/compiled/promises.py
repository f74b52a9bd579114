"""The promises of the compiled gateway: built once from the source as it is, and run as real processes."""

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import test_promises
from tests.cli import test_serve
from tests.compiled.build import ROOT, unpack
from tests.processes import Command, running_pair
from tests.test_promises import fleet, fleet_with

ASK = "import importlib, sys; [print(importlib.import_module(name).__file__) for name in sys.argv[1:]]"
"""Prints where modules are."""

Fleets = test_promises.Fleets

# What holds for any gateway process, whoever has built it.
test_overload_wastes_nothing = test_promises.test_overload_wastes_nothing
test_boto3_with_only_its_endpoint_changed = test_promises.test_boto3_with_only_its_endpoint_changed
test_boto3_raises_throttling_when_the_queue_is_full = test_promises.test_boto3_raises_throttling_when_the_queue_is_full
test_a_time_out_never_runs_a_model_twice = test_promises.test_a_time_out_never_runs_a_model_twice
test_streams_leave_no_memory_behind = test_promises.test_streams_leave_no_memory_behind
test_sigterm_answers_everybody_and_exits_0 = test_serve.test_sigterm_answers_everybody_and_exits_0
test_a_second_signal_forces = test_serve.test_a_second_signal_forces


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled package is."""
    return unpack(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(autouse=True)
def _compiled(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m gateway` is the compiled one: the working directory comes first on the path."""
    monkeypatch.chdir(unpacked)


def test_what_runs_is_compiled(unpacked: Path) -> None:
    """Every module of the hot path is an extension, and one of this build."""
    (hot,) = re.findall(r"^HOT = (\(.*?^\))$", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
    modules = [f"gateway.{name.replace('/', '.')}" for name in ast.literal_eval(hot)]
    asked = subprocess.run([sys.executable, "-c", ASK, *modules], capture_output=True, text=True, check=True)
    files = asked.stdout.split()

    assert len(files) == len(modules) > 0
    assert [file for file in files if not file.endswith((".so", ".pyd")) or not file.startswith(str(unpacked))] == []


async def test_never_more_calls_than_instances(tmp_path: Path) -> None:
    """200 at once on 5 instances: the fleet has seen 5 at a time and never more; the metrics tell of them all."""
    fleets: Fleets = {"seed": {"instances": 5, "model": {"seconds": 0.02}}}
    async with running_pair(tmp_path, fleets, {"seed": {"instances": 5}}) as (emulator, gateway):
        statuses, seen = await test_promises.call_at_once(emulator, gateway, "seed", 200)
        samples = await _samples(gateway)

    assert statuses == {200: 200}
    assert (seen["peak_calls"], seen["peak_work"], seen["calls"]) == (5, 5, 200)
    assert [samples[f"sagemaker_gateway_{name}"] for name in ("requests_total", "request_duration_seconds_count")] == [
        200,
        200,
    ]
    assert [samples[f"sagemaker_gateway_{name}"] for name in ("running", "waiting")] == [0, 0]


async def test_bytes_are_sacred_and_refusals_teach(tmp_path: Path) -> None:
    """A binary body comes back as it went; an unknown name and too long a body are refused in our form."""
    fleets: Fleets = {"echo": {"instances": 1, "model": {"echo": True, "seconds": 0}}}
    endpoints: Fleets = {"echo": {"instances": 1, "max_body_bytes": 100_000}}
    body = bytes(range(256)) * 300
    async with (
        running_pair(tmp_path, fleets, endpoints) as (_, gateway),
        aiohttp.ClientSession(gateway.url) as session,
    ):
        async with session.post("/endpoints/echo/invocations", data=body) as response:
            echoed = await response.read()
        refused = []
        for path, data in (("/endpoints/nobody/invocations", b"{}"), ("/endpoints/echo/invocations", body * 2)):
            async with session.post(path, data=data) as response:
                told = await response.json()
                refused.append((response.status, response.headers["x-amzn-ErrorType"], told["code"] != ""))

    assert echoed == body
    assert refused == [(404, "ValidationError", True), (413, "RequestEntityTooLargeException", True)]


async def test_who_hangs_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """A waiter leaves the queue; a running call keeps its permit until its end, and then it is there for the next."""
    fleets: Fleets = {"seed": {"instances": 1, "model": {"seconds": 1.0}}}
    async with (
        running_pair(tmp_path, fleets, {"seed": {"instances": 1}}) as (emulator, gateway),
        aiohttp.ClientSession(gateway.url) as session,
    ):
        running = asyncio.create_task(_call(session))
        await _until(gateway, running=1)
        waiting = asyncio.create_task(_call(session))
        await _until(gateway, running=1, waiting=1)
        waiting.cancel()
        await _until(gateway, running=1, waiting=0)
        running.cancel()
        await _until(gateway, running=1, orphaned=1)
        status = await _call(session)
        await fleet_with(emulator, "seed", work=0)
        seen = await fleet(emulator, "seed")
        samples = await _samples(gateway)

    assert status == 200
    assert (seen["calls"], seen["peak_work"]) == (2, 1)
    assert [samples[f"sagemaker_gateway_{name}"] for name in ("running", "orphaned", "waiting")] == [0, 0, 0]


async def _call(session: aiohttp.ClientSession) -> int:
    async with session.post("/endpoints/seed/invocations", data=b"{}") as response:
        await response.read()
        return response.status


async def _samples(gateway: Command) -> dict[str, float]:
    """What `/metrics` says, summed up over labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/metrics") as response:
        text = await response.text()
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    return samples


async def _until(gateway: Command, **expected: int) -> None:
    """The status of the endpoint has come to be so."""
    async with asyncio.timeout(20), aiohttp.ClientSession(gateway.url) as session:
        while True:
            async with session.get("/status") as response:
                found = (await response.json())["endpoints"]["seed"]
            if {name: found[name] for name in expected} == expected:
                return
