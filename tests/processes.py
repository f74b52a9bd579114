"""The commands as real processes: started, waited for until they are ready, and stopped."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.stand import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Command:
    """A running command.

    Attributes:
        process: the process.
        url: where it said that it listens.
        errors: all that it writes to standard error, once it has ended.
    """

    process: Process
    url: str
    errors: asyncio.Task[bytes]


@asynccontextmanager
async def running(*arguments: str, **environment: str) -> AsyncIterator[Command]:
    """`sagemaker-gateway` with arguments, until it says where it listens; terminated at the end."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, stdout=PIPE, stderr=PIPE, env=os.environ | keys | environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = (await process.stdout.readline()).decode().strip()
        if "listening on http" not in line:
            raise RuntimeError(f"{arguments} said {line!r} and {(await errors).decode()}")
        yield Command(process, line.rpartition(" ")[2], errors)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.gather(process.stdout.read(), errors, process.wait())


def write_yaml(path: Path, content: Mapping[str, Any]) -> str:
    """A config file; its path."""
    path.write_text(yaml.safe_dump(dict(content)))
    return str(path)


@asynccontextmanager
async def running_pair(
    folder: Path, fleets: Mapping[str, Mapping[str, Any]], endpoints: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[tuple[Command, Command]]:
    """The emulator and a gateway in front of it, both as processes of their own."""
    emulator_config = {"listen": {"port": 0}, "region": REGION, "endpoints": fleets}
    async with running("emulate", "--config", write_yaml(folder / "emulator.yaml", emulator_config)) as emulator:
        config = {
            "listen": {"port": 0},
            "aws": {"region": REGION, "endpoint_url": emulator.url},
            "endpoints": endpoints,
        }
        async with running("serve", "--config", write_yaml(folder / "gateway.yaml", config)) as gateway:
            yield emulator, gateway
