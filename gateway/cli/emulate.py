"""`emulate`: a local SageMaker, alone or with a gateway in front."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import click

from gateway.cli.errors import fail
from gateway.cli.loop import run
from gateway.config import Config, ConfigError, load
from gateway.emulator import EmulatorError, EmulatorSettings, load_settings, serve


class _GatewayEndedError(Exception):
    """The gateway in front ended by itself, and has said why."""


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What to emulate, in YAML. Default: one endpoint `seed`, 2 instances of 5 s.",
)
@click.option(
    "--gateway",
    "front",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also serve this config of the gateway in front, signed in with the emulator's first key pair.",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen on, in place of the file's; 0: a free one."
)
def emulate(path: Path | None, front: Path | None, port: int | None) -> None:
    """Run a local SageMaker: fleets of real model servers behind the API of AWS, until SIGTERM or Ctrl-C."""
    try:
        settings = (
            load_settings(path) if path else EmulatorSettings.model_validate({"endpoints": {"seed": {"instances": 2}}})
        )
        if port is not None:
            settings = settings.model_copy(update={"listen": settings.listen.model_copy(update={"port": port})})
        config = load(front) if front else None
    except (EmulatorError, ConfigError) as error:
        fail(str(error), code=2)
    try:
        run(_emulate(settings, front, config))
    except (EmulatorError, _GatewayEndedError) as error:
        fail(str(error), code=1)


async def _emulate(settings: EmulatorSettings, front: Path | None, config: Config | None) -> None:
    async def ready(url: str) -> None:
        _say(f"emulator listening on {url}")
        if front is None or config is None:
            await asyncio.Event().wait()
        else:
            await _serve_in_front(settings, front, config)

    await serve(settings, ready)


async def _serve_in_front(settings: EmulatorSettings, front: Path, config: Config) -> None:
    """Run `serve` as a process of its own until it ends; it goes first when the emulator is told to stop."""
    keys = settings.credentials[0]
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_SESSION_TOKEN": keys.session_token or "",
    }
    # A session of its own: Ctrl-C comes here, and from here as the one SIGTERM that starts an orderly end.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "serve", "--config", str(front)),
        env=environment,
        stdout=PIPE,
        start_new_session=True,
    )
    try:
        line = (await process.stdout.readline()).decode().strip() if process.stdout else ""
        if line:
            _say(line)
            _say_how_to_call(line.rpartition(" ")[2], config)
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode:
        raise _GatewayEndedError(f"the gateway ended with exit code {process.returncode}")


def _say_how_to_call(url: str, config: Config) -> None:
    paths = [route.path for route in config.routes.values() if route.path is not None]
    for path in paths or [f"/endpoints/{name}/invocations" for name in config.endpoints]:
        _say(f"try: curl -H 'Content-Type: application/json' -d '{{}}' {url}{path}")


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
