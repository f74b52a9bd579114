"""Where the gateway's CPU time goes under the load of the bench: the functions with the most, own and cumulative."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from .figures import Table
from .processes import serving
from .systems import serving_gateway
from .whole import Load, cost

TOP = 30
LOAD = Load(body_bytes=100, connections=32, requests=0)


async def profile(directory: Path, *, requests: int) -> tuple[Table, ...]:
    """Tables of where the time went.

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
    note = f"{number:,} samples under {requests:,} requests at {spent.cpu:.0f} µs each, the looking included."
    return tuple(
        _table(title, samples[kind], number, spent.cpu, note)
        for title, kind in (
            ("Own time, by module", "modules"),
            ("Own time, by function", "own"),
            ("Own time, by line", "lines"),
            ("Cumulative time, by function", "total"),
        )
    )


def _table(title: str, counts: Mapping[str, int], number: int, cpu: float, note: str) -> Table:
    top = sorted(counts.items(), key=lambda item: -item[1])[:TOP]
    rows = [(name, f"{count / number:.1%}", f"{count / number * cpu:.1f}") for name, count in top]
    return Table(title=title, columns=("", "share", "µs per request"), rows=rows, note=note)
