"""How many instructions of its own a request takes the gateway: the same in every run, whatever else the machine does.

`python -m tests.bench.instructions` counts them with callgrind, and needs valgrind. The kernel's are not among them. A
change of one in five hundred shows, where CPU time differs by a fifth from run to run: so a change of the hot path is
judged in seconds, `--beside` a checkout without it.
"""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import uvloop

from .load import open_callers
from .processes import ROOT, Server, serving
from .systems import PATH, serving_gateway

CONNECTIONS = 32
WARM = 8 * CONNECTIONS
"""Requests before those that count: CPython has adapted its byte code to them by then."""

_TOTALS = re.compile(rb"^totals: (\d+)$", re.MULTILINE)


class ValgrindError(Exception):
    """Instructions cannot be counted; the message says why."""


async def count(directory: Path, *, requests: int, body_bytes: int = 100, checkout: Path = ROOT) -> float:
    """Instructions per request, over kept-alive connections, everything on.

    Args:
        directory: where configs, logs and counts may be put.
        requests: how many are counted.
        body_bytes: the length of their bodies.
        checkout: whose gateway it is.

    Raises:
        ValgrindError: valgrind is not there.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None or shutil.which("callgrind_control") is None:
        raise ValgrindError(
            "valgrind is not installed: it counts the instructions, and comes with the system's packages"
        )
    counts = directory / "callgrind.out"
    # A seed of its own for every process would have dictionaries collide now here, now there.
    under = ("env", "PYTHONHASHSEED=0", valgrind, "--tool=callgrind", "--instr-atstart=no")
    async with serving(["-m", "tests.bench.upstream"], log=directory / "up.log") as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        place = directory / "counted"
        async with (
            serving_gateway(place, url, checkout=checkout, under=(*under, f"--callgrind-out-file={counts}")) as gateway,
            open_callers(gateway.port, PATH, body_bytes=body_bytes, connections=CONNECTIONS) as callers,
        ):
            await callers.run(WARM)
            await _instrument(gateway, "on")
            await callers.run(requests)
            await _instrument(gateway, "off")
    found = _TOTALS.search(counts.read_bytes())
    if found is None:
        raise ValgrindError(f"callgrind left no totals; it said {place.with_suffix('.log').read_text()[-1000:]}")
    return int(found[1]) / requests


async def _instrument(server: Server, state: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "callgrind_control", "-i", state, str(server.pid), stdout=DEVNULL, stderr=DEVNULL
    )
    if await process.wait():
        raise ValgrindError(f"callgrind_control could not turn counting {state}")


@click.command()
@click.option("--requests", default=2_000, show_default=True, help="How many are counted.")
@click.option("--body-bytes", default=100, show_default=True, help="The length of their bodies.")
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Another checkout, whose gateway is counted too.",
)
def main(*, requests: int, body_bytes: int, beside: Path | None) -> None:
    """Count the gateway's instructions per request."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for checkout in (ROOT, *([beside] if beside else [])):
            with TemporaryDirectory(prefix="instructions-") as name:
                try:
                    found = runner.run(
                        count(Path(name), requests=requests, body_bytes=body_bytes, checkout=checkout.resolve())
                    )
                except ValgrindError as error:
                    sys.exit(f"error: {error}")
            click.echo(f"{found:,.0f} instructions per request of {body_bytes:,} B: {checkout}")


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.instructions")
