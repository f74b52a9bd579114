"""More stories than there is time for in a test: `python -m tests.machine EXAMPLES SEED`."""

import argparse

import pytest
from hypothesis import given, seed, settings

from tests.environment import own_environment
from tests.machine.machine import play
from tests.machine.test_machine import CONFIGS, EVENTS


def main() -> None:
    """Play them; the first that breaks a promise is made as short as it can be, and shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("examples", type=int, nargs="?", default=1000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    asked = parser.parse_args()
    test = given(plans=CONFIGS, events=EVENTS)(play)
    with pytest.MonkeyPatch.context() as monkeypatch:
        own_environment(monkeypatch)
        settings(max_examples=asked.examples, deadline=None, database=None)(seed(asked.seed)(test))()


if __name__ == "__main__":
    main()
