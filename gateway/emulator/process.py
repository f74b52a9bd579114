"""The process behind one instance: started with a port to bind to, heard out, and ended for certain."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Self

TAIL_BYTES = 4096
"""How much of a process's output is kept for the message that says why it did not start."""

DRAIN_SECONDS = 1.0


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ContainerProcess:
    """A running process, in a session of its own so that a Ctrl-C in the terminal reaches only the emulator.

    Its standard input is a pipe that the emulator holds and never writes to: when it ends, the emulator is gone,
    even by SIGKILL, and the process has to end too.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process
        self._tail = bytearray()
        self._log = logging.getLogger(__name__)
        self._reader = asyncio.create_task(self._read_output())
        self._exit = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, name: str, command: Sequence[str], *, port: int, environment: Mapping[str, str]) -> Self:
        """Start a command with `SAGEMAKER_BIND_TO_PORT` set, and the environment on top of the emulator's own.

        Raises:
            OSError: The command cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **environment, "SAGEMAKER_BIND_TO_PORT": str(port)},
            start_new_session=True,
        )
        return cls(name, process)

    @property
    def exit_status(self) -> int | None:
        """The status it ended with (negative: the signal), or None while it runs."""
        return self._process.returncode

    async def exited(self, within_seconds: float) -> bool:
        """Wait for its end for some seconds; say whether it came, its last output read."""
        done, _ = await asyncio.wait({self._exit}, timeout=within_seconds)
        if done:
            await self._drain()
        return bool(done)

    def output_tail(self) -> str:
        """The last of what it printed, both streams."""
        return self._tail.decode("utf-8", errors="replace").strip()

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL for whatever is left after the grace; return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if not await self.exited(grace_seconds):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._exit
        await self._drain()
        self._reader.cancel()

    async def _drain(self) -> None:
        """Read the last output; not for ever, since a daemon that the process left behind may hold the pipe."""
        await asyncio.wait({self._reader}, timeout=DRAIN_SECONDS)

    async def _read_output(self) -> None:
        output = self._process.stdout
        while output is not None and (chunk := await output.read(TAIL_BYTES)):
            self._tail += chunk
            del self._tail[:-TAIL_BYTES]
            self._log.info("%s: %s", self._name, chunk.decode("utf-8", errors="replace").rstrip())
