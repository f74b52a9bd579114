"""Where the gateway's CPU time goes under the load of the bench: the modules and functions with the most."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from .figures import Result, Table
from .processes import serving
from .systems import serving_gateway
from .whole import Load, cost

TOP = 30
LOAD = Load(body_bytes=100, connections=32, requests=0)


async def profile(directory: Path, *, requests: int) -> Result:
    """Where the time went.

    Args:
        directory: where configs, logs and samples may be put.
        requests: how many requests are looked at.
    """
    found = directory / "samples.json"
    command = ("-m", "tests.bench.sampler", str(found))
    async with serving(["-m", "tests.bench.upstream"], log=directory / "up.log") as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        async with serving_gateway(directory / "sampled", url, command=command) as gateway:
            await cost(gateway, LOAD, requests=requests // 4)
            os.kill(gateway.pid, signal.SIGUSR1)
            spent = await cost(gateway, LOAD, requests=requests)
    samples = json.loads(found.read_text())
    number = samples["number"]
    note = (
        f"{number:,} samples of CPU time under {requests:,} requests of {LOAD.body_bytes} B over {LOAD.connections} "
        f"connections, at {spent.cpu:.0f} µs each, the looking included. What a function has C code do counts for it; "
        "reads, writes and the waking of tasks are the event loop's and the kernel's."
    )
    tables = (
        _table("Where the gateway's CPU goes, by module", samples["modules"], number, spent.cpu, note),
        _table("Where the gateway's CPU goes, by function", samples["functions"], number, spent.cpu, ""),
    )
    return Result(tables, ())


def _table(title: str, counts: Mapping[str, int], number: int, cpu: float, note: str) -> Table:
    top = sorted(counts.items(), key=lambda item: -item[1])[:TOP]
    rows = [(name, f"{count / number:.1%}", f"{count / number * cpu:.1f}") for name, count in top]
    return Table(title=title, columns=("", "share", "µs per request"), rows=rows, note=note)
