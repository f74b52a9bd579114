"""What can happen to a gateway, one thing after the other, and what is to be left of it all."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from functools import partial

from hypothesis import note

from gateway.config import ConfigError
from gateway.config.problems import Problem
from gateway.flights import Flight
from gateway.limiter import Permit
from gateway.models import Reloaded
from gateway.turn import Turn
from gateway.visit import Visit
from tests.machine.callers import Attempt, Errand
from tests.machine.configs import BUFFERED_BYTES, ROUTES, Plan
from tests.machine.far_end import KINDS, Run
from tests.machine.ledger import Ledger
from tests.machine.promises import check, check_counters
from tests.machine.stage import Stage

PROBLEM = Problem(7, 5, "endpoints.a.instances", "'two'", "a number")
FAT = BUFFERED_BYTES // 3
AT_HOME = {"CredentialSource.keep_fresh", "Follower.follow", "sleep"}
"""The tasks that there are while nobody calls."""

LEAST_STEPS = 25
"""How many things happen before the end may come."""

FORMS = ("plain", "joins", "plain", "plain", "streams", "joins", "plain", "slow", "fat")
LIMITS = (None, None, 20.0, 1.0, None, None, 0.0)
ENDS = (*KINDS, *("ok",) * (len(KINDS) - 2))
PARTS = (10, 0, 300_000)
SECONDS = (1.0, 0.1, 3.0, 11.0, 0.0, 31.0, 1.0, 70.0, 3.0)
DOORS = ("open", "shut", "empty", "silent", "shut", "empty", "open")


class Machine:
    """A gateway, and all that can happen to it.

    Args:
        plan: the config that holds at first.
    """

    def __init__(self, plan: Plan) -> None:
        self.ledger = ledger = Ledger(plan)
        self.stage = Stage(
            plan.config, story=lambda: ledger.step, watch=ledger.watch, gave_up=ledger.gave_up, read=ledger.read
        )
        ledger.bind(self.stage.far_end, self.stage.gateway)
        self.loop, self.gateway, self.far_end = self.stage.loop, self.stage.gateway, self.stage.far_end
        self.reload: asyncio.Task[Reloaded] | None = None
        self.next = plan
        self.ending: list[asyncio.Task[None]] = []
        self.at_rest = False

    # --- the story

    def happen(self, action: Callable[[], object], turns: int | None = None) -> None:
        """Something happens, and then so many turns of the loop, or all that there are."""
        self.ledger.step += 1
        self.at_rest = False
        self.stage.do(action)
        if turns is None:
            self.rest()
        elif turns:
            self.loop.turn(turns)

    def rest(self, seconds: float = 0.001) -> None:
        """Let all happen that can happen by then, and look."""
        ledger = self.ledger
        self.loop.pass_by(seconds)
        self.at_rest = True
        if self.reload is not None and self.reload.done():
            reload, self.reload = self.reload, None
            assert not reload.result().problems
            ledger.adopt(self.next, self.gateway.limiters)
        ledger.settle(reloading=self.reload is not None)
        for line in self.stage.lines():
            if line["event"] == "request_finished":
                ledger.lines[line["request_id"]].append(line)
        for attempt in ledger.attempts:
            attempt.look()
        check(ledger, self.stage)
        ledger.rested, ledger.changed = ledger.step, False

    @property
    def here(self) -> list[Attempt]:
        """Callers who are still there."""
        return [attempt for attempt in self.ledger.attempts if attempt.open]

    @property
    def under_way(self) -> list[Run]:
        """Calls that may be given an end."""
        return [run for run in self.far_end.alive() if run.connected and not run.ending]

    # --- callers

    def arrive(self, number: int, turns: int | None) -> None:
        """Somebody comes with something new."""
        form, limit = FORMS[number % len(FORMS)], LIMITS[number // 9 % len(LIMITS)]
        self.come(self.want(number // 63, form, limit), turns, whole=form != "slow")

    def arrive_together(self, number: int, turns: int | None) -> None:
        """Several come in one turn."""
        for place in range(number % 8, -1, -1):
            self.come(self.want(number // 8, "plain"), 0 if place else turns)

    def come_again(self, number: int, turns: int | None) -> None:
        """An SDK sends a call once more, whatever has become of it; some give up before that what waits."""
        here = [attempt for attempt in self.here if attempt.errand.joins]
        if here and number % 2:
            self.hang_up(self.here.index(here[0]), turns)
            self.come(here[0].errand, turns)
        elif joining := [errand for errand in self.ledger.errands.values() if errand.joins]:
            self.come(joining[-1 - number % len(joining)], turns)

    def want(self, route: int, form: str, limit: float | None = None) -> Errand:
        """Something new to come with."""
        name = tuple(ROUTES)[route % len(ROUTES)]
        body = b"errand-%d %s" % (len(self.ledger.errands), b"x" * (FAT if form == "fat" else 0))
        errand = self.ledger.errands[body] = Errand(name, body, form == "joins", form == "streams", limit)
        return errand

    def come(self, errand: Errand, turns: int | None, *, whole: bool = True) -> None:
        """Somebody comes."""
        ledger = self.ledger
        tiers = ledger.plan.tiers.get(errand.route, ())
        patience = ledger.plan.patience(errand.route) if tiers else 0.0
        patience = patience if errand.limit is None else min(patience, errand.limit)
        complete, late = self.loop.time() if whole else None, self.gateway.roster.draining
        errand.displaced |= ledger.may_be_displaced(tiers)
        number = len(ledger.attempts)
        attempt = Attempt(number, errand, tiers, ledger.step + 1, late, (patience, patience), complete)
        ledger.attempts.append(attempt)
        errand.attempts.append(attempt)
        note(f"  {attempt.name} comes for {errand.body[:10]!r} of {errand.route}, limit {errand.limit}, {turns=}")

        def action() -> None:
            attempt.wire = self.stage.connect()
            attempt.wire.send(attempt.head() + (errand.body if whole else errand.body[:4]))

        self.happen(action, turns)

    def finish_body(self, number: int, turns: int | None) -> None:
        """The rest of a body comes."""
        if attempts := [attempt for attempt in self.here if attempt.complete is None]:
            attempt = attempts[number % len(attempts)]
            attempt.complete = self.loop.time()
            self.happen(lambda: attempt.at.send(attempt.errand.body[4:]), turns)

    def hang_up(self, number: int, turns: int | None) -> None:
        """A caller goes, whatever they wait for."""
        if not self.here:
            return
        attempt = self.here[number % len(self.here)]
        note(f"  {attempt.name}")

        def action() -> None:
            attempt.look()
            if attempt.open:
                attempt.gone = self.ledger.step
                attempt.at.hang_up()

        attempt.hasty = not self.at_rest
        self.happen(action, turns)

    def race(self, number: int, turns: int | None) -> None:
        """A call ends about when somebody goes who waits for it: shortly before, or shortly after."""
        for run in self.under_way:
            errands = [
                errand for errand in self.ledger.waiting() if any(run.endpoint in tier for tier in errand.open[0].tiers)
            ]
            if errands:
                attempt = self.ledger.attempts.index(errands[0].open[0])
                place = self.here.index(self.ledger.attempts[attempt])
                note(f"  call {run.number} ends")
                run.ending = True
                if number % 2:
                    self.hang_up(place, 0)
                self.happen(partial(run.end, "ok"), number // 2 % 5)
                if not number % 2:
                    self.hang_up(place, turns)
                return

    def stall(self, number: int, turns: int | None) -> None:
        """A caller reads nothing for a while, or reads on."""
        if self.here:
            attempt = self.here[number // 2 % len(self.here)]
            self.happen(lambda: attempt.read(not number % 2), turns)

    # --- SageMaker

    def answer(self, number: int, turns: int | None) -> None:
        """A call ends."""
        if runs := self.under_way:
            run, kind = runs[number % len(runs)], ENDS[number // 8 % len(ENDS)]
            note(f"  call {run.number} of {run.body[:10]!r} to {run.endpoint}: {kind}")
            run.ending = True
            self.happen(partial(run.end, kind), turns)

    def send_part(self, number: int, turns: int | None) -> None:
        """A part of a stream comes."""
        if runs := [run for run in self.under_way if run.streams]:
            run, size = runs[number % len(runs)], PARTS[number // 8 % len(PARTS)]
            self.happen(lambda: run.put(b"y" * size), turns)

    def overrun(self, number: int, turns: int | None) -> None:
        """More of a stream comes than its caller reads, who goes or stays."""
        for run in self.under_way:
            readers = [attempt for attempt in self.here if attempt.errand.body == run.body]
            if run.streams and readers:
                self.happen(lambda: readers[0].read(False), 0)  # noqa: B023 - it is the last round
                for size in (400_000, 10):
                    self.happen(partial(run.put, b"y" * size), 3)
                if number % 2:
                    self.hang_up(self.here.index(readers[0]), turns)
                return

    def move_door(self, number: int, turns: int | None) -> None:
        """An endpoint can be reached from now on, or not."""
        doors = {"abc"[number % 3]: DOORS[number // 3 % len(DOORS)]}
        note(f"  {doors}")
        self.happen(lambda: self.far_end.doors.update(doors), turns)

    def scale(self, number: int, turns: int | None) -> None:
        """The fleet becomes another, which is read when its time comes, if it can be read; or there are other keys."""
        if number % 4 == 0:
            self.stage.chain.renews = bool(number // 4 % 2)
        else:
            self.stage.control.instances, self.stage.control.readable = number // 4 % 5, number % 4 != 3
        self.happen(lambda: None, turns)

    # --- time and operators

    def pass_time(self, number: int, _turns: int | None) -> None:
        """Time passes."""
        note(f"  {SECONDS[number % len(SECONDS)]} s")
        self.ledger.step += 1
        self.rest(SECONDS[number % len(SECONDS)])

    def take_config(self, plan: Plan, *, slow: bool) -> None:
        """Another config is taken, which may take a moment."""
        if self.reload is None:
            self.rest()
            self.next, self.stage.next = plan, plan.config
            self.ledger.expect(plan)
            self.loop.thread_seconds = 0.2 if slow else 0.0
            self.reload = self.loop.create_task(self.gateway.reload())
            self.happen(lambda: None)

    def take_bad_config(self) -> None:
        """A config that cannot be taken changes nothing."""
        if self.reload is None:
            self.rest()
            self.stage.next, self.loop.thread_seconds = ConfigError("gateway.yaml", (PROBLEM,)), 0.0
            before = self.stage.status()
            reload = self.loop.create_task(self.gateway.reload())
            self.loop.pass_by()
            assert reload.result().problems
            assert self.stage.status() == before
            self.happen(lambda: None)

    def drain(self, number: int, turns: int | None) -> None:
        """The gateway goes away; told so twice, it ends at once."""
        if self.ledger.step < LEAST_STEPS:
            return
        if not self.ending:
            self.ledger.draining = True
            self.ending.append(self.loop.create_task(self.gateway.drain()))
            self.happen(lambda: None, turns)
        elif len(self.ending) == 1:
            for run in self.under_way[: number % 2]:  # in this very moment
                run.ending = True
                self.happen(partial(run.end, "ok"), number // 2 % 5)
            self.ending.append(self.loop.create_task(self.gateway.cut_off()))
            self.happen(lambda: None, turns)

    # --- the end

    def wind_down(self) -> None:
        """Let all calls and callers come to an end, and time pass."""
        self.rest()
        stage = self.stage
        self.far_end.doors.update(dict.fromkeys("abc", "open"))
        stage.control.instances, stage.control.readable, stage.chain.renews = 3, True, True
        for attempt in self.here:
            if attempt.complete is None:
                self.finish_body(0, 0)
            stage.do(lambda attempt=attempt: attempt.at.resume())
        for _ in range(60):
            self.ledger.step += 1
            self.rest(2.0)
            if not self.here and not self.far_end.alive():
                break
            for run in self.under_way:
                run.ending = True
                stage.do(partial(run.end, "ok"))
        assert not self.here, self.here
        self.ledger.step += 1
        self.rest(150.0)

    def find_nothing_left(self) -> None:
        """No permit, no place, no memory, no task, no flight."""
        if not self.ending:
            self._come_last()
        status = self.stage.status()
        for now in status.values():
            assert (now["running"], now["cooling"], now["waiting"], now["orphaned"]) == (0, 0, 0, 0)
        assert set(status) == set(self.ledger.plan.endpoints)
        check_counters(self.ledger, self.stage)
        self.loop.finish(self.gateway.roster.wait_idle(), seconds=1)
        assert self.stage.tasks() <= AT_HOME, self.stage.tasks()
        gc.collect()
        kinds = (Permit, Turn) if self.ending else (Permit, Turn, Visit, Flight)  # the next attempt lets flights go
        left = [each for each in gc.get_objects() if isinstance(each, kinds)]
        assert not left, left

    def _come_last(self) -> None:
        """One more call takes all the memory that there is, and so finds all of it free."""
        body = b"the last %s" % (b"x" * (BUFFERED_BYTES - 9))
        errand = self.ledger.errands[body] = Errand(next(iter(self.ledger.plan.tiers)), body, True, False, None)  # noqa: FBT003
        self.come(errand, None)
        while runs := self.under_way:
            runs[0].ending = True
            self.happen(partial(runs[0].end, "ok"))
        reply = errand.attempts[0].reply
        assert reply is not None
        assert reply.status == 200, reply

    def close(self) -> None:
        """Close the gateway."""
        self.stage.close()
        assert not self.loop.troubles, self.loop.troubles


def play(plans: Sequence[Plan], events: Sequence[tuple[str, int, int | None]]) -> None:
    """Let these events happen to a gateway that has the first of these configs."""
    machine = Machine(plans[0])
    try:
        for what, number, turns in events:
            if what == "reload":
                note(f"reload {plans[number % len(plans)]}")
                machine.take_config(plans[number % len(plans)], slow=number // 8 % 2 == 1)
            elif what == "bad reload":
                machine.take_bad_config()
            elif what != "nothing":
                note(f"{what} {number} {turns}")
                getattr(machine, what)(number, turns)
        machine.wind_down()
        machine.find_nothing_left()
    except BaseException:
        machine.stage.abandon()
        raise
    machine.close()
