"""CPU per request stays what it was, beside a peer in the same run; no absolute time is judged."""

import shutil
from pathlib import Path

import pytest

from .guard import Verdict, reference, watch
from .processes import ROOT

SLOWED = """
import sys

def trace(*_):
    return trace

sys.settrace(trace)
"""
"""A debugger left on: every line of Python costs a call, whatever the code is like."""


async def test_a_request_costs_no_more_than_it_did(tmp_path: Path) -> None:
    """Beside the pooled client, the gateway's CPU per request is at most a quarter over what was accepted last."""
    verdict = await watch(tmp_path, accepted=reference())

    assert not verdict.regressed, verdict


async def test_a_slow_gateway_is_found_out(tmp_path: Path) -> None:
    """A copy of the gateway that is slowed down does not pass."""
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway")
    main = tmp_path / "gateway/__main__.py"
    main.write_text(SLOWED + main.read_text())

    verdict = await watch(tmp_path, accepted=reference(), checkout=tmp_path, rounds=3, tries=2)

    assert verdict.regressed, verdict
    assert verdict.rounds == 6


@pytest.mark.parametrize(("ratio", "regressed"), [(0.2, False), (0.25, False), (0.26, True)])
def test_the_line_is_a_quarter_over(ratio: float, *, regressed: bool) -> None:
    """Exactly a quarter more is still let through."""
    assert Verdict(ratio, most=0.25, rounds=1).regressed is regressed
