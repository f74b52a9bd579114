"""`demo`: what it measures, by the emulator's own counters, and what it leaves behind: nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.demo.calling import Burst, Finished, blocking
from gateway.cli.demo.command import measure_all
from gateway.cli.demo.environment import secluded
from gateway.cli.demo.measuring import Run
from gateway.cli.demo.report import sentence
from gateway.cli.demo.scenes import BLOCKING, DIRECT, GATEWAY, Way, scenes
from gateway.emulator import Emulator, EmulatorSettings, EndpointSettings, ListenSettings, ModelSettings
from tests.waiting import until

SECONDS = 60.0
"""What a command may take before its test fails."""

UNFRIENDLY = {
    "AWS_PROFILE": "somebody",
    "AWS_CONFIG_FILE": "/dev/zero",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "SAGEMAKER_GATEWAY_EMULATE_GATEWAY": "/nowhere",
}
"""Settings of the user, any of which would lead the demo astray."""


def begin(_title: str, _calls: int) -> Finished:
    """A progress that nobody looks at."""
    return lambda: None


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Way], Run]:
    """All runs of both scenes, at the pace of the faster one, by endpoint and way of calling."""
    seed, overload = scenes(fast=True)
    home = tmp_path_factory.mktemp("demo")
    with secluded(home):
        measured = asyncio.run(measure_all((replace(seed, scale=overload.scale), overload), home, begin))
    return {(run.scene.name, run.way): run for scene in measured for run in scene}


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m gateway demo --fast` in an unfriendly environment; its processes carry `tmp_path` in theirs."""
    # A shell has what it runs in the background ignore Ctrl-C, and with these tests their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--fast"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | UNFRIENDLY | {"TMPDIR": str(tmp_path)},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        yield process
        process.kill()


def left_behind(folder: Path) -> list[str]:
    """The processes that carry a folder in their environment, by command line, and what is in the folder."""
    found = [str(path) for path in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in process.joinpath("environ").read_bytes().split(b"\0"):
                found.append(process.joinpath("cmdline").read_text())
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def test_blocking_is_one_at_a_time(runs: dict[tuple[str, Way], Run]) -> None:
    """A blocking client in an event loop uses one instance of two, and takes longer than calls that overlap."""
    blocking, direct = runs["seed", BLOCKING], runs["seed", DIRECT]

    assert blocking.counters.peak_work == 1
    assert direct.counters.peak_work > direct.scene.instances
    assert blocking.outcome.wall_seconds > direct.outcome.wall_seconds
    assert blocking.outcome.wall_seconds >= 2 * blocking.scene.physical_seconds


def test_gateway_fills_the_fleet_and_no_more(runs: dict[tuple[str, Way], Run]) -> None:
    """Through the gateway both instances work, nothing queues inside them, and it is faster than blocking."""
    run = runs["seed", GATEWAY]

    assert (run.succeeded, run.counters.calls) == (4, 4)
    assert (run.counters.peak_work, run.counters.peak_running) == (2, 2)
    assert runs["seed", BLOCKING].outcome.wall_seconds > run.outcome.wall_seconds


def test_overload_without_gateway_wastes_instances(runs: dict[tuple[str, Way], Run]) -> None:
    """40 calls straight at SageMaker: some run into its limit, and instances work for callers that have gone."""
    run = runs["overload", DIRECT]

    assert run.counters.peak_work > run.scene.instances
    assert run.succeeded < 40
    assert run.failures == {424: 40 - run.succeeded}
    assert run.ratio is None
    assert run.counters.timed_out == 40 - run.succeeded
    assert run.counters.wasted_instance_seconds > 0


def test_overload_with_gateway_wastes_nothing(runs: dict[tuple[str, Way], Run]) -> None:
    """The same 40 calls through the gateway: all succeed."""
    run = runs["overload", GATEWAY]

    assert (run.succeeded, run.failures) == (40, {})
    assert run.counters.peak_work == 2
    assert run.counters.wasted_instance_seconds == 0


def test_no_run_beats_physics(runs: dict[tuple[str, Way], Run]) -> None:
    """Counters and clocks are of one run each: the fleet worked for all of its calls, no faster than it can."""
    for run in runs.values():
        assert run.counters.calls == run.scene.calls
        assert run.counters.busy_instance_seconds >= run.scene.calls * run.scene.call_seconds
        assert run.counters.span_seconds >= run.scene.physical_seconds
        assert run.ratio is None or run.ratio >= 1


def test_sentences_say_what_was_measured(runs: dict[tuple[str, Way], Run]) -> None:
    """The sentence under a table speaks of times, or of losses where calls failed, in the numbers of the runs."""
    seed = [runs["seed", way] for way in (BLOCKING, DIRECT, GATEWAY)]
    overload = [runs["overload", way] for way in (DIRECT, GATEWAY)]

    for run in seed:
        assert f"{run.outcome.wall_seconds:.2f} s with at most {run.counters.peak_work}" in sentence(seed)
    assert f"{40 - overload[0].succeeded} failed with status 424" in sentence(overload)
    assert "40 of 40 calls answered, 0.00 s of" in sentence(overload)


def test_command_line(command: subprocess.Popen[str], tmp_path: Path) -> None:
    """The whole demo, whatever the user's AWS settings: exit code 0, both tables, and nothing left behind."""
    out, errors = command.communicate(timeout=SECONDS)

    assert command.returncode == 0, errors
    assert "Scene 1: 4 calls at once on 2 instances of 0.25 s" in out
    assert "Scene 2: 40 calls at once on 2 instances of 0.1 s" in out
    assert [out.count(f"\n {way.title} ") for way in (BLOCKING, DIRECT, GATEWAY)] == [1, 2, 2]
    assert errors.splitlines()[:2] == ["seed: blocking client: 4 calls", "seed: blocking client: all finished"]
    assert left_behind(tmp_path) == []


async def test_interrupt(command: subprocess.Popen[str], tmp_path: Path) -> None:
    """Ctrl-C ends it once it has started processes, and nothing is left behind."""
    await until(lambda: any("keeper.py" in line for line in left_behind(tmp_path)), seconds=SECONDS)

    command.send_signal(signal.SIGINT)
    out, errors = await asyncio.to_thread(command.communicate, timeout=SECONDS)

    assert (command.returncode, out) == (1, "")
    assert errors.strip() == "Aborted!"
    assert left_behind(tmp_path) == []


async def test_blocking_calls_do_not_hold_up_the_end() -> None:
    """The thread of the blocking client ends with the emulator, however long its calls would have taken."""
    settings = EmulatorSettings(
        listen=ListenSettings(port=0),
        verify_signatures=False,
        endpoints={"slow": EndpointSettings(model=ModelSettings(seconds=600))},
    )
    async with Emulator(settings) as emulator:
        calls = asyncio.create_task(blocking(Burst(emulator.url, "slow", 4, patience_seconds=600), begin("", 4)))
        await until(lambda: emulator.counters("slow").running == 1)
        calls.cancel()

    async with asyncio.timeout(SECONDS):
        await asyncio.get_running_loop().shutdown_default_executor()
    assert calls.cancelled()


def test_a_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1, and a message that says which, how it was started, and what it said last."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no memory left >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    result = CliRunner().invoke(main, ["demo", "--fast"])

    assert result.exit_code == 1
    assert "the emulator did not start: `python -m gateway emulate --config " in result.stderr
    assert "ended with exit code 3. Its last words:\nno memory left" in result.stderr


def test_no_python_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with a message that says what to look at, and no traceback."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    result = CliRunner().invoke(main, ["demo", "--fast"])

    assert result.exit_code == 1
    assert "cannot start /nowhere/python: No such file or directory" in result.stderr
