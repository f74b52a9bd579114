"""Who is measured runs where the bench says."""

import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from .processes import on_cores, run, shared_out

SAY_WHERE = "import os; print(*os.sched_getaffinity(0))"


def test_that_who_is_measured_shares_no_core_where_there_are_several() -> None:
    """One core is theirs, all others are everybody else's, and none is left out."""
    own, others = shared_out()
    available = os.sched_getaffinity(0)
    assert own | others == available
    assert len(own) == 1
    assert not own & others or len(available) == 1


async def test_that_a_process_stays_on_the_cores_on_which_it_was_started(tmp_path: Path) -> None:
    """The bench itself goes back to where it was."""
    before = os.sched_getaffinity(0)
    own, _ = shared_out()
    async with AsyncExitStack() as stack:
        with on_cores(own):
            process = await stack.enter_async_context(run([sys.executable, "-c", SAY_WHERE], log=tmp_path / "log"))
        assert os.sched_getaffinity(0) == before
        assert process.stdout is not None
        assert {int(core) for core in (await process.stdout.read()).split()} == own
