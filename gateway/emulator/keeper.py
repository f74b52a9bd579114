"""Keeps a container's command on a leash: it ends when told to, and whenever the emulator is gone, however it went.

A program of its own on the standard library alone: `python -I keeper.py GRACE_SECONDS COMMAND...`. A command knows
nothing of the emulator, and would outlive one that was killed. The keeper holds the emulator's pipe as its standard
input; when that ends, or on SIGTERM, the command's whole process group gets SIGTERM, and after the grace SIGKILL.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
"""The exit status by which shells say that a command could not be run."""


def _watch_stdin(over: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    over.set()


def _watch_child(child: subprocess.Popen[bytes], ended: threading.Event, over: threading.Event) -> None:
    child.wait()
    ended.set()
    over.set()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def main() -> int:
    """Run the command, and return its exit status (127 when it cannot be started)."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    over, ended = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: over.set())
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 (its purpose)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]!r}: {error.strerror}\n")
        return NOT_STARTED
    threading.Thread(target=_watch_stdin, args=(over,), daemon=True).start()
    threading.Thread(target=_watch_child, args=(child, ended, over), daemon=True).start()
    over.wait()
    if not ended.is_set():
        _signal_group(child, signal.SIGTERM)
        ended.wait(grace_seconds)
    _signal_group(child, signal.SIGKILL)  # what the command itself has left behind in its group
    return child.wait()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status % 256)
