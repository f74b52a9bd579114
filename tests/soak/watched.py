"""The gateway as a process, as it is served, with an AWS config; on SIGUSR1 it also writes how many tasks it has."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from gateway.cli import main


def run(path: Path) -> None:
    """Run the gateway's command line.

    Args:
        path: where each signal leaves a line with the number.
    """

    def count(_signal: int, _frame: FrameType | None) -> None:
        with path.open("a") as lines:
            lines.write(f"{len(asyncio.all_tasks())}\n")

    signal.signal(signal.SIGUSR1, count)
    main()


if __name__ == "__main__":
    os.environ["AWS_CONFIG_FILE"] = sys.argv.pop(1)
    run(Path(sys.argv.pop(1)))
