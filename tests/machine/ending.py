"""What is to be left of it all: nothing."""

import gc
from functools import partial

from gateway.flights import Flight
from gateway.limiter import Permit
from gateway.turn import Turn
from gateway.visit import Visit
from tests.machine.callers import Errand
from tests.machine.configs import BUFFERED_BYTES, Plan
from tests.machine.promises import check_counters
from tests.machine.story import Story

AT_HOME = {"CredentialSource.keep_fresh", "Follower.follow", "sleep"}
"""The tasks that there are while nobody calls."""


def wind_down(story: Story) -> None:
    """Let all calls and callers come to an end, and time pass."""
    story.rest()
    stage, plan = story.stage, story.ledger.plan
    story.take_config(Plan(dict([*plan.endpoints.items()][:1]), 1), slow=False)  # what leaves now is busy, if any is
    story.far_end.doors.update(dict.fromkeys("abc", "open"))
    stage.control.instances, stage.control.readable, stage.chain.renews = 3, True, True
    for attempt in story.here:
        if attempt.complete is None:
            story.send_rest(attempt, 0)
        stage.do(attempt.go_on)
    for _ in range(60):
        story.ledger.step += 1
        story.rest(2.0)
        if not story.here and not story.far_end.alive():
            break
        for run in story.under_way:
            run.ending = True
            stage.do(partial(run.end, "ok"))
    assert not story.here, story.here
    story.ledger.step += 1
    story.rest(150.0)


def find_nothing_left(story: Story) -> None:
    """No permit, no place, no memory, no task, no flight."""
    if not story.ending:
        _come_last(story)
    status = story.stage.status()
    for now in status.values():
        assert (now["running"], now["cooling"], now["waiting"], now["orphaned"]) == (0, 0, 0, 0)
    assert set(status) == set(story.ledger.plan.endpoints)
    check_counters(story.ledger, story.stage)
    story.loop.finish(story.gateway.roster.wait_idle(), seconds=1)
    assert story.stage.tasks() <= AT_HOME, story.stage.tasks()
    gc.collect()
    kinds = (Permit, Turn) if story.ending else (Permit, Turn, Visit, Flight)  # the next attempt lets flights go
    left = [each for each in gc.get_objects() if isinstance(each, kinds)]
    assert not left, left


def _come_last(story: Story) -> None:
    """One more call takes all the memory that there is, and so finds all of it free."""
    body = b"the last %s" % (b"x" * (BUFFERED_BYTES - 9))
    errand = story.ledger.errands[body] = Errand(next(iter(story.ledger.plan.tiers)), body, True, False, None)  # noqa: FBT003
    story.come(errand, None)
    while runs := story.under_way:
        runs[0].ending = True
        story.happen(partial(runs[0].end, "ok"))
    reply = errand.attempts[0].reply
    assert reply is not None
    assert reply.status == 200, reply
