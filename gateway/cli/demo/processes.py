"""The emulator and the gateway, each a process of its own as in real life, on free ports, gone when the demo is."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from gateway.cli.demo.environment import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.scenes import Scene
from gateway.emulator import keeper

READY = re.compile(rb"listening on (http://\S+)")
START_SECONDS = 60.0
GRACE_SECONDS = 3.0
"""What a process may take to end once it was told to; then it is killed."""

DRAIN_SECONDS = 0.1
"""What the gateway gives its calls when it is told to end: the demo ends it with all calls done, or on Ctrl-C."""

QUOTED_LINES = 12

PACKAGE_HOME = Path(__file__).parents[3]
"""Where this very package lies."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the calls go."""

    emulator_url: str
    gateway_url: str


@asynccontextmanager
async def open_stage(scenes: Iterable[Scene], home: Path) -> AsyncIterator[Stage]:
    """An emulator with an endpoint for each scene, and a gateway in front of it; both gone at the end.

    Raises:
        DemoError: One of them did not start.
    """
    scenes = tuple(scenes)
    emulator = _write(home / "emulator.yaml", _emulator_config(scenes))
    async with started("emulator", "emulate", "--config", emulator, home=home) as emulator_url:
        config = _write(home / "gateway.yaml", _gateway_config(scenes, emulator_url))
        async with started("gateway", "serve", "--config", config, home=home) as gateway_url:
            yield Stage(emulator_url, gateway_url)


@asynccontextmanager
async def started(name: str, *words: str, home: Path) -> AsyncIterator[str]:
    """A command of this program in a process of its own, ready; its URL.

    Args:
        name: What to call it when it does not start.
        words: The command and its options.
        home: Where its log goes.

    Raises:
        DemoError: It did not start.
    """
    with (home / f"{name}.log").open("w+b") as log:
        process = await _leashed(words, log)
        try:
            yield await _ready_url(name, words, process, log)
        finally:
            await _end(process)


async def _leashed(words: Iterable[str], log: IO[bytes]) -> Process:
    """Start a command on the emulator's leash: it ends when its standard input does, even if the demo is killed."""
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", keeper.__file__, str(GRACE_SECONDS)),
            *(sys.executable, "-m", "gateway", *words),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            cwd=PACKAGE_HOME,  # where `-m` looks first: a directory called gateway at the user's place is not us
            start_new_session=True,  # a Ctrl-C in the terminal reaches the demo alone, which then ends the others
        )
    except OSError as error:
        raise DemoError(f"cannot start {sys.executable}: {error.strerror}. Check the Python installation.") from error


async def _ready_url(name: str, words: Iterable[str], process: Process, log: IO[bytes]) -> str:
    """The URL on the line by which a process says that it is ready."""
    reason = f"did not say within {START_SECONDS:g} s that it listens"
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.stdout is not None and (line := await process.stdout.readline()):
                if found := READY.search(line):
                    return found[1].decode()
            reason = f"ended with exit code {await process.wait()}"
    except TimeoutError:
        pass
    log.seek(0)
    last_words = log.read().decode("utf-8", errors="replace").strip().splitlines()[-QUOTED_LINES:]
    quote = "Its last words:\n" + "\n".join(last_words) if last_words else "It said nothing."
    command = " ".join(["python -m gateway", *words])
    raise DemoError(f"the {name} did not start: `{command}` {reason}. {quote}")


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


def _emulator_config(scenes: Iterable[Scene]) -> dict[str, Any]:
    return {
        "listen": {"host": "127.0.0.1", "port": 0},
        "region": REGION,
        "credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}],
        "endpoints": {
            scene.name: {
                "instances": scene.instances,
                "timeout_seconds": scene.limit_seconds,
                "model": {"seconds": scene.call_seconds},
            }
            for scene in scenes
        },
    }


def _gateway_config(scenes: Iterable[Scene], emulator_url: str) -> dict[str, Any]:
    return {
        "listen": {"host": "127.0.0.1", "port": 0},
        "aws": {"region": REGION, "endpoint_url": emulator_url},
        "drain": {"timeout_seconds": DRAIN_SECONDS},
        "log": {"level": "warning"},
        "endpoints": {
            scene.name: {
                "instances": scene.instances,
                "queue": {"max_waiting": scene.calls, "timeout_seconds": scene.patience_seconds},
            }
            for scene in scenes
        },
    }


def _write(path: Path, config: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)
