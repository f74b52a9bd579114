"""The processes that are measured: started, heard until they listen, CPU time and memory read, ended for certain."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
"""The checkout that this file is part of."""

START_SECONDS = 60
STOP_SECONDS = 10
REGION = "ap-northeast-1"
ACCESS_KEY_ID = "AKIABENCH"
SECRET_ACCESS_KEY = "bench-secret"
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
}
BACKLOG = 4096

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_CPUCLOCK_SCHED = 2
"""Linux's number of a process's CPU clock, user and system time of all its threads; see clock_getcpuclockid(3)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on 127.0.0.1.

    Attributes:
        pid: its process id.
        port: where it listens.
        process: the process itself.
    """

    pid: int
    port: int
    process: Process

    def cpu_seconds(self) -> float:
        """User and system time so far, to the nanosecond (`/proc/PID/stat` counts in hundredths of a second)."""
        return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)

    def resident_bytes(self) -> int:
        """How much memory it has now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def shared_out() -> tuple[set[int], set[int]]:
    """The core of whoever is measured, and those of everybody else; they share it where there is but one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Keep this process to some cores until the end; what it starts meanwhile stays on them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def listen() -> socket.socket:
    """A socket on 127.0.0.1 that listens, and says so on standard output."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)  # noqa: T201
    return listening


@asynccontextmanager
async def serving(
    arguments: Sequence[str], *, log: Path, checkout: Path = ROOT, under: Sequence[str] = ()
) -> AsyncIterator[Server]:
    """A Python process that says `listening on http://HOST:PORT`; ended on the way out.

    Args:
        arguments: what comes after `python`.
        log: the file that its standard error goes to.
        checkout: the directory that it runs in, whose packages it imports.
        under: the command that runs it, if it is not to be run by itself, and becomes its process.

    Raises:
        RuntimeError: it did not start.
    """
    async with run([*under, sys.executable, *arguments], log=log, checkout=checkout) as process:
        yield Server(process.pid, await _port(process, log), process)


@asynccontextmanager
async def run(command: Sequence[str], *, log: Path, checkout: Path = ROOT) -> AsyncIterator[Process]:
    """A process that knows the bench's credentials and no others; ended on the way out.

    Args:
        command: the program and its arguments.
        log: the file that its standard error goes to.
        checkout: the directory that it runs in.
    """
    foreign = ("AWS_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    nowhere = str(log.with_suffix(".none"))
    files = {"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}
    # With byte code, as what is installed has it, also where the environment is one without.
    files["PYTHONPYCACHEPREFIX"] = str(log.parent / "bytecode")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=checkout, env={**environment, **KEYS, **files}, stdout=PIPE, stderr=errors
        )
    try:
        yield process
    finally:
        await _stop(process)


async def _port(process: Process, log: Path) -> int:
    line = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
    port = urlsplit(line.decode().strip().rpartition(" ")[2]).port
    if port is None:
        raise RuntimeError(f"a server did not start; it said {line!r} and then\n{_tail(log)}")
    return port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _stop(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
