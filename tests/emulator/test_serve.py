"""The emulator as a process: it says when it is ready, and leaves nothing behind, however it ends."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.emulator import Emulator, StartError

from . import container
from .support import FAST, descendants, is_alive, python_path, settings, unsigned, until

PROGRAM = """
import asyncio, json, sys
from gateway.emulator import EmulatorSettings, serve
settings = EmulatorSettings.model_validate(json.loads(sys.argv[1]))
async def forever(url):
    print(url, flush=True)
    await asyncio.Event().wait()
asyncio.run(serve(settings, forever))
print("stopped", flush=True)
"""
ENDPOINTS = {"built-in": {"instances": 2, **FAST}, "own": {"command": [sys.executable, "-c", container.PROGRAM]}}


@asynccontextmanager
async def serving(cwd: object, endpoints: object = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs `serve`."""
    document = {"listen": {"port": 0}, "endpoints": endpoints or ENDPOINTS}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, json.dumps(document)),
        stdout=asyncio.subprocess.PIPE,
        cwd=str(cwd),
        env=python_path(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_instances(number: signal.Signals, tmp_path: object) -> None:
    """After SIGTERM or Ctrl-C `serve` returns with all processes gone, calls in the middle or not."""
    async with serving(tmp_path) as process:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"http://127.0.0.1:")
        started = descendants(process.pid)
        assert len(started) == 4
        process.send_signal(number)
        assert await process.stdout.read() == b"stopped\n"
        assert await process.wait() == 0
        assert not any(is_alive(pid) for pid in started)


async def test_no_process_outlives_an_emulator_that_was_killed(tmp_path: object) -> None:
    """Even after SIGKILL all instances end by themselves: their standard input has ended."""
    async with serving(tmp_path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        started = descendants(process.pid)
        assert len(started) == 4
        process.kill()
        await until(lambda: not any(is_alive(pid) for pid in started))


async def test_a_signal_during_the_start_stops_it(tmp_path: object) -> None:
    """While an instance does not come up, SIGTERM ends the start and the processes it has begun."""
    never = {"never": {"command": [sys.executable, "-c", "import time; time.sleep(99)"]}}
    async with serving(tmp_path, never) as process:
        await until(lambda: len(descendants(process.pid)) == 2)
        started = descendants(process.pid)
        process.terminate()
        assert await process.wait() == 0
        assert not any(is_alive(pid) for pid in started)


async def test_a_taken_port_is_said_plainly() -> None:
    """When the address is in use the error names it, and no instance is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use.*port 0"):
            async with Emulator(settings({"echo": FAST}, listen={"port": port})):
                pass


async def test_an_emulator_stops_while_calls_are_running_and_waiting() -> None:
    """Leaving the context takes no time, whatever runs or waits in the instances."""
    async with Emulator(unsigned(seed={"model": {"seconds": 99}})) as emulator:
        writers = []
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
            writer.write(b"POST /endpoints/seed/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            writers.append(writer)
        await until(lambda: emulator.counters("seed").work == 3)
    for writer in writers:
        writer.close()
