"""`serve`: the gateway as a process, from a config file to its last call."""

import asyncio
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import click
from structlog.typing import FilteringBoundLogger

from gateway.app import Gateway, StartError, open_gateway
from gateway.cli.cycles import collecting
from gateway.cli.errors import fail
from gateway.cli.loop import beside, run
from gateway.config import Config, ConfigError, load
from gateway.log import adopt_libraries, make_logger


@click.command()
@click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The config, in YAML."
)
def serve(path: Path) -> None:
    """Serve the endpoints of a config until SIGTERM or Ctrl-C; a second signal forces the end.

    SIGHUP has the config read again.
    """
    try:
        config = load(path)
    except ConfigError as error:
        fail(str(error), code=2)
    try:
        run(_serve(config, path))
    except ConfigError as error:
        fail(str(error), code=2)
    except StartError as error:
        fail(str(error), code=1)


async def _serve(config: Config, path: Path) -> None:
    log = make_logger(level=config.log.level, style=config.log.format)
    adopt_libraries(log)
    _raise_file_limit(config, log)
    first, second, hangup = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
    async with (
        open_gateway(config, log, partial(load, path)) as gateway,
        _reloading(gateway, hangup),
        collecting(gateway.listening.open_connections),
    ):
        # How long the loop waits for a thread that computes, as one does for a scrape: callers would notice 5 ms.
        sys.setswitchinterval(0.0002)
        click.echo(f"listening on {gateway.url}")
        sys.stdout.flush()
        await first.wait()
        drain = asyncio.create_task(gateway.drain())
        force = asyncio.create_task(second.wait())
        await asyncio.wait((drain, force), return_when=asyncio.FIRST_COMPLETED)
        force.cancel()
        if not drain.done():
            drain.cancel()
            await gateway.cut_off()


def _raise_file_limit(config: Config, log: FilteringBoundLogger) -> None:
    """Have as many files as the system lets us, since each connection is one, and say where these are too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft <= config.listen.max_connections:
        log.warning("few_open_files", limit=soft, max_connections=config.listen.max_connections)


@asynccontextmanager
async def _reloading(gateway: Gateway, hangup: asyncio.Event) -> AsyncIterator[None]:
    """Have the config read again at each hangup, one after the other; several during one count once."""

    async def reload_on_and_on() -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            await gateway.reload()

    async with beside(reload_on_and_on(), "reload at SIGHUP"):
        yield
