"""The command: every way of calling in every scene, one after the other, then the report."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from gateway.cli.demo.emulator import open_witness
from gateway.cli.demo.environment import secluded
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.measuring import Run, measure
from gateway.cli.demo.processes import open_stage
from gateway.cli.demo.progress import Begin, open_progress
from gateway.cli.demo.report import print_report
from gateway.cli.demo.scenes import Scene, scenes
from gateway.cli.errors import fail
from gateway.cli.loop import run


@click.command()
@click.option("--fast", is_flag=True, help="The first scene in a twentieth of its time.")
def demo(*, fast: bool) -> None:
    """Measure the seed experiment here: an emulated SageMaker called with and without the gateway.

    Scene 1 makes 4 calls of 5 s at once on 2 instances: with a blocking client inside an event loop, with calls that
    overlap, and with the same through the gateway. Scene 2 makes 40, where SageMaker's limit of 60 s strikes; its times
    are a fiftieth of the real ones.
    """
    try:
        run(_demo(scenes(fast=fast)))
    except DemoError as error:
        fail(str(error), code=1)
    except asyncio.CancelledError:
        fail("ended by SIGTERM; nothing was left running", code=128 + signal.SIGTERM)


async def _demo(plan: Sequence[Scene]) -> None:
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with TemporaryDirectory(prefix="sagemaker-gateway-demo-") as directory:
        home = Path(directory)
        with secluded(home), open_progress() as begin:
            measured = await measure_all(plan, home, begin)
    print_report(measured)


async def measure_all(plan: Sequence[Scene], home: Path, begin: Begin) -> list[list[Run]]:
    """The runs of each scene.

    Args:
        plan: The scenes.
        home: An empty directory for configs and logs.
        begin: Told of each run that begins.

    Raises:
        DemoError: A process did not start, or a run could not be measured.
    """
    async with open_stage(plan, home) as stage, open_witness(stage.emulator_url) as witness:
        return [
            [
                await measure(scene, way, stage, witness, begin(f"{scene.name}: {way.title}", scene.calls))
                for way in scene.ways
            ]
            for scene in plan
        ]
