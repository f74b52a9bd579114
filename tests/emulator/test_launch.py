"""Instances that are processes of the user's own, or servers that run already."""

import os
import signal
import sys

import pytest

from gateway.emulator import Emulator, StartError

from . import container
from .support import FAST, descendants, http, is_alive, unsigned, until, variable


async def test_a_command_is_run_for_each_instance() -> None:
    """Each instance is a process with a port and the environment of its own, and is gone after the stop."""
    endpoint = {"instances": 2, "command": [sys.executable, "-c", container.PROGRAM], "environment": {"WORD": "hi "}}
    async with Emulator(unsigned(own=endpoint)) as emulator, http() as session:
        started = descendants(os.getpid())
        for _ in range(2):
            async with session.post(f"{emulator.url}/endpoints/own/invocations", data=b"there") as reply:
                assert await reply.read() == b"hi there"
        assert [each.calls for each in emulator.counters("own").instances] == [1, 1]
    assert len(started) == 4  # a keeper each, and the command
    assert not any(is_alive(pid) for pid in started)


async def test_a_command_that_will_not_end_is_killed_with_all_its_children() -> None:
    """SIGTERM, then after the grace SIGKILL, for the whole process group."""
    endpoint = {"command": [sys.executable, "-c", container.PROGRAM, "deaf"], "stop_seconds": 0.1}
    async with Emulator(unsigned(own=endpoint)):
        started = descendants(os.getpid())
        assert len(started) == 3
    await until(lambda: not any(is_alive(pid) for pid in started))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([sys.executable, "-c", "print('no weights in /opt/ml/model'); raise SystemExit(3)"], "no weights in /opt/ml"),
        (["/nowhere/serve"], "cannot run '/nowhere/serve': No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(1)"], "It printed nothing."),
    ],
)
async def test_a_command_that_dies_at_the_start_tells_why(command: list[str], said: str) -> None:
    """The error names the endpoint, the instance and the status, quotes the last output, and stops the others."""
    endpoints = {"bad": {"command": command}, "good": {"instances": 3, **FAST}}
    with pytest.raises(StartError) as caught:
        async with Emulator(unsigned(**endpoints)):
            pass
    message = str(caught.value)
    assert message.startswith("endpoints.bad: instance 0: its process ended with status ")
    assert said in message
    assert "Check `command`" in message
    assert descendants(os.getpid()) == []


async def test_a_command_that_never_answers_is_given_up() -> None:
    """Without a 200 from /ping in startup_seconds, the error says so, what was tried, and what to do."""
    code = "print('still loading', flush=True); import time; time.sleep(99)"
    endpoint = {"command": [sys.executable, "-c", code], "startup_seconds": 0.5}
    with pytest.raises(StartError, match=r"startup_seconds=0\.5: it could not be reached") as caught:
        async with Emulator(unsigned(slow=endpoint)):
            pass
    assert "still loading" in str(caught.value)
    assert descendants(os.getpid()) == []


async def test_an_instance_can_be_a_server_that_runs_already() -> None:
    """With a url nothing is started, calls go there, and it still runs when the emulator has stopped."""
    async with Emulator(unsigned(echo=FAST)) as near, http() as session:
        pids = descendants(os.getpid())
        port = variable(pids[0], "SAGEMAKER_BIND_TO_PORT")
        async with Emulator(unsigned(far={"url": f"http://127.0.0.1:{port}"})) as emulator:
            assert descendants(os.getpid()) == pids
            async with session.post(f"{emulator.url}/endpoints/far/invocations", data=b"x") as reply:
                assert await reply.read() == b"x"
        async with session.post(f"{near.url}/endpoints/echo/invocations", data=b"y") as reply:
            assert await reply.read() == b"y"


async def test_a_url_without_a_server_is_given_up() -> None:
    """The error names the url and what came of asking it."""
    endpoint = {"url": "http://127.0.0.1:9", "startup_seconds": 0.1}
    with pytest.raises(StartError, match=r"far: instance 0 at http://127\.0\.0\.1:9: .* could not be reached"):
        async with Emulator(unsigned(far=endpoint)):
            pass


async def test_a_container_that_dies_at_work_is_a_lost_one() -> None:
    """When an instance's process is killed, its calls are 424 with status 0; the emulator goes on."""
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        (pid,) = descendants(os.getpid())
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid))
        async with session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"x") as reply:
            assert (reply.status, (await reply.json())["OriginalStatusCode"]) == (424, 0)
