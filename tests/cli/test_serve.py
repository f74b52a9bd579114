"""`serve` as a real process: what it prints, how it ends."""

import asyncio
import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.processes import running, running_pair, write_yaml
from tests.stand import REGION

CONFIG: dict[str, Any] = {
    "listen": {"port": 0},
    "aws": {"region": REGION, "endpoint_url": "http://127.0.0.1:9"},
    "endpoints": {"seed": {"instances": 1}},
}

LATE = {
    "aiobotocore",  # with its session it would be a third more; the names of botocore's errors are known
    "botocore.session",
    "botocore.credentials",
    "gateway.emulator",
}
"""What a service has no use for whose keys are in the environment, and whose SageMaker has an address in the config."""


def serve(path: str) -> subprocess.CompletedProcess[str]:
    """The command, where it is expected to end by itself."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_sigterm_answers_everybody_and_exits_0(tmp_path: Path) -> None:
    """SIGTERM in the middle of 50 calls: every one of them is answered, and the exit code is 0."""
    fleets = {"seed": {"instances": 5, "model": {"seconds": 0.1}}}
    async with (
        running_pair(tmp_path, fleets, {"seed": {"instances": 5}}) as (_, gateway),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def call() -> int:
            async with session.post(f"{gateway.url}/endpoints/seed/invocations", data=b"{}") as response:
                return response.status

        calls = [asyncio.create_task(call()) for _ in range(50)]
        await calls[0]
        gateway.process.send_signal(signal.SIGTERM)
        statuses = await asyncio.gather(*calls)
        code = await gateway.process.wait()

    assert statuses == [200] * 50
    assert code == 0


async def test_a_second_signal_forces(tmp_path: Path) -> None:
    """Somebody in a hurry: the second signal ends it at once, and says what was cut off."""
    fleets = {"seed": {"instances": 1, "model": {"seconds": 30}}}
    async with (
        running_pair(tmp_path, fleets, {"seed": {"instances": 1}}) as (_, gateway),
        aiohttp.ClientSession() as session,
    ):
        call = asyncio.create_task(session.post(f"{gateway.url}/endpoints/seed/invocations", data=b"{}"))
        async with asyncio.timeout(20):
            while True:
                async with session.get(f"{gateway.url}/status") as response:
                    if (await response.json())["endpoints"]["seed"]["running"]:
                        break
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while True:
                async with session.get(f"{gateway.url}/readyz") as response:
                    if response.status == 503:
                        break
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            reply = await call
            code = await gateway.process.wait()
            errors = (await gateway.errors).decode()

    assert (reply.status, code) == (424, 0)
    assert "drain_cut_off" in errors


async def test_sighup_takes_another_config_or_keeps_the_old_one(tmp_path: Path) -> None:
    """Row 34: a bad file changes nothing, and the log names its line and key; a good one is there at once."""
    path = tmp_path / "gateway.yaml"
    good = {**CONFIG["endpoints"], "resnet": {"instances": 2}}
    async with (
        running("serve", "--config", write_yaml(path, CONFIG)) as gateway,
        aiohttp.ClientSession(gateway.url) as session,
    ):

        async def capacities() -> dict[str, int]:
            async with session.get("/status") as response:
                endpoints = (await response.json())["endpoints"]
            return {name: endpoint["capacity"] for name, endpoint in endpoints.items()}

        write_yaml(path, {**CONFIG, "endpoints": good})
        gateway.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while (taken := await capacities()) == {"seed": 1}:
                await asyncio.sleep(0.02)
        write_yaml(path, {**CONFIG, "endpoints": {"seed": {"instances": "two"}}})
        gateway.process.send_signal(signal.SIGHUP)
        refused = []
        for _ in range(2):  # when the second is answered, that of the signal is over
            async with session.post("/-/reload") as response:
                refused.append((response.status, (await response.json())["problems"]))
        kept = await capacities()
        gateway.process.send_signal(signal.SIGTERM)
        code = await gateway.process.wait()
        lines = [json.loads(line) for line in (await gateway.errors).splitlines()]

    failed = [line for line in lines if line["event"] == "reload_failed"]
    (done,) = [line for line in lines if line["event"] == "config_reloaded"]
    assert (taken, kept, code) == ({"seed": 1, "resnet": 2}, taken, 0)
    assert refused == [(400, failed[0]["problems"])] * 2
    assert [line["file"] for line in failed] == [str(path)] * 3
    assert failed[0]["problems"][0].startswith(f"{path}:6:5 endpoints.seed.instances: found 'two'")
    assert done["endpoints_added"] == ["resnet"]


async def test_nothing_is_printed_but_where_it_listens(tmp_path: Path) -> None:
    """One line on standard output; the log goes to standard error, as JSON where that is no terminal."""
    async with running("serve", "--config", write_yaml(tmp_path / "gateway.yaml", CONFIG)) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        code = await gateway.process.wait()
        errors = (await gateway.errors).decode()

    assert code == 0
    assert all(line.startswith("{") for line in errors.splitlines())
    assert "emulator-secret" not in errors


async def test_it_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """Neither to start, nor to answer, nor to end: most of the time of a start goes into imports."""
    path = write_yaml(tmp_path / "gateway.yaml", CONFIG)
    async with (
        running("serve", "--config", path, PYTHONPROFILEIMPORTTIME="1") as gateway,
        aiohttp.ClientSession(gateway.url) as session,
    ):
        async with session.post("/endpoints/seed/invocations", data=b"{}") as response:
            status = response.status
        gateway.process.send_signal(signal.SIGTERM)
        told = (await gateway.errors).decode()

    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}
    assert status == 503  # nobody listens there
    assert {"gateway.app", "aiohttp", "pydantic"} <= loaded
    assert loaded & LATE == set()


def test_a_bad_config_exits_2_without_a_traceback(tmp_path: Path) -> None:
    """The mistakes, each with its place; nothing else."""
    path = write_yaml(tmp_path / "gateway.yaml", CONFIG | {"endpoint": {}})

    ended = serve(path)

    assert ended.returncode == 2
    assert "endpoint" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_config_exits_2_without_a_traceback(tmp_path: Path) -> None:
    """Which is also what a container without a config says."""
    ended = serve(str(tmp_path / "none.yaml"))

    assert ended.returncode == 2
    assert "none.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """Exit code 1, the address, and no traceback."""
    async with running("serve", "--config", write_yaml(tmp_path / "first.yaml", CONFIG)) as first:
        port = int(first.url.rpartition(":")[2])
        path = write_yaml(tmp_path / "second.yaml", CONFIG | {"listen": {"port": port}})
        ended = await asyncio.to_thread(serve, path)

    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_it_has_as_many_files_as_the_system_lets_it(tmp_path: Path) -> None:
    """Each connection is one: the soft limit is raised to the hard one, and where that is too low the log says so."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    config = {
        "listen": {"port": 0, "max_connections": 1_000_000},
        "aws": {"region": REGION},
        "endpoints": {"a": {"instances": 1}},
    }
    async with running("serve", "--config", write_yaml(tmp_path / "gateway.yaml", config)) as gateway:
        limits = await asyncio.to_thread(Path(f"/proc/{gateway.process.pid}/limits").read_text)

    assert re.search(rf"^Max open files +{hard} +{hard} ", limits, re.MULTILINE)
