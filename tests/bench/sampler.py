"""A gateway that looks at itself, as a process: on SIGUSR1 it begins to note where its CPU time goes.

The timer counts CPU time only. A signal is seen between two byte codes, so time in C counts for the line that called
it; time in the event loop and the kernel is recognised by a function that has only just been entered from the loop.
"""

import json
import signal
import sys
from collections import Counter
from opcode import opmap
from pathlib import Path
from types import FrameType

from gateway.cli import main

INTERVAL_SECONDS = 0.001
LOOP = "(event loop and kernel)"
_RESUME = opmap.get("RESUME")
_LOOP_MODULES = ("asyncio.runners", "asyncio.base_events")


class Samples:
    """Counters of what was running, by function and by module."""

    def __init__(self) -> None:
        self.number = 0
        self.functions: Counter[str] = Counter()
        self.modules: Counter[str] = Counter()

    def take(self, _signal: int, frame: FrameType | None) -> None:
        """Note one moment."""
        if frame is None:
            return
        self.number += 1
        in_loop = _in_loop(frame)
        self.functions[LOOP if in_loop else f"{_module(frame)}.{frame.f_code.co_qualname}"] += 1
        self.modules[LOOP if in_loop else _module(frame)] += 1

    def write(self, path: Path) -> None:
        """Leave all counters as JSON."""
        path.write_text(json.dumps({"number": self.number, "functions": self.functions, "modules": self.modules}))


def _in_loop(frame: FrameType) -> bool:
    """Whether the frame is the loop's own, or has not done a thing yet."""
    if _module(frame) in _LOOP_MODULES:
        return True
    entered = frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _RESUME
    return entered and frame.f_back is not None and _module(frame.f_back) in _LOOP_MODULES


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def run(path: Path) -> None:
    """Run the gateway's command line, and leave the samples at the end."""
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS))
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        samples.write(path)


if __name__ == "__main__":
    run(Path(sys.argv.pop(1)))
