"""What can happen to a gateway, one thing after the other."""

from collections.abc import Sequence
from functools import partial

from hypothesis import note

from gateway.config import ConfigError
from gateway.config.problems import Problem
from tests.machine.configs import Plan
from tests.machine.ending import find_nothing_left, wind_down
from tests.machine.far_end import KINDS
from tests.machine.story import Story

PROBLEM = Problem(7, 5, "endpoints.a.instances", "'two'", "a number")
BEFORE_THE_END = 2 / 3
"""Which share of the events there is before the end may come."""

FORMS = ("plain", "joins", "streams", "plain", "plain", "joins", "streams", "slow", "fat")
LIMITS = (None, None, 20.0, 1.0, None, None, 0.0)
ENDS = (*KINDS, *("ok",) * (len(KINDS) - 2))
PARTS = (10, 0, 300_000)
SECONDS = (1.0, 0.1, 3.0, 11.0, 0.0, 31.0, 1.0, 70.0, 3.0)
DOORS = ("open", "shut", "empty", "silent", "shut", "empty", "open")


class Machine(Story):
    """All that can happen to a gateway, and somebody arrives where a thing cannot.

    The number says which, where there are several; `turns` is as for `happen`.
    """

    # --- callers

    def arrive(self, number: int, turns: int | None) -> None:
        """Somebody comes with something new."""
        form, limit = FORMS[number % len(FORMS)], LIMITS[number // 9 % len(LIMITS)]
        self.come(self.want(number // 7, form, limit), turns, whole=form != "slow")

    def arrive_together(self, number: int, turns: int | None) -> None:
        """Several come in one turn."""
        for place in range(number % 12, -1, -1):
            self.come(self.want(number // 12, "plain"), 0 if place else turns)

    def come_again(self, number: int, turns: int | None) -> None:
        """An SDK sends a call once more, whatever has become of it; some give up before that what waits."""
        here = [attempt for attempt in self.here if attempt.errand.joins]
        if here and number % 2:
            self.leave(here[0], turns)
            self.come(here[0].errand, turns)
        elif joining := [errand for errand in self.ledger.errands.values() if errand.joins]:
            self.come(joining[-1 - number % len(joining)], turns)
        else:
            self.arrive(number, turns)

    def finish_body(self, number: int, turns: int | None) -> None:
        """The rest of a body comes."""
        if attempts := [attempt for attempt in self.here if attempt.complete is None]:
            self.send_rest(attempts[number % len(attempts)], turns)
        else:
            self.arrive(number, turns)

    def hang_up(self, number: int, turns: int | None) -> None:
        """A caller goes, whatever they wait for."""
        if self.here:
            self.leave(self.here[number % len(self.here)], turns)
        else:
            self.arrive(number, turns)

    def race(self, number: int, turns: int | None) -> None:
        """A call ends about when somebody goes who waits for it: shortly before, or shortly after."""
        for run in self.under_way:
            errands = [
                errand for errand in self.ledger.waiting() if any(run.endpoint in tier for tier in errand.open[0].tiers)
            ]
            if errands:
                attempt = errands[0].open[0]
                self.told.append(f"  call {run.number} ends")
                run.ending = True
                if number % 2:
                    self.leave(attempt, 0)
                self.happen(partial(run.end, "ok"), number // 2 % 5)
                if not number % 2:
                    self.leave(attempt, turns)
                return
        self.arrive(number, turns)

    def stall(self, number: int, turns: int | None) -> None:
        """A caller reads nothing for a while, or reads on."""
        if self.here:
            attempt = self.here[number // 2 % len(self.here)]
            self.happen((attempt.go_on, attempt.pause)[number % 2], turns)

    # --- SageMaker

    def answer(self, number: int, turns: int | None) -> None:
        """A call ends."""
        if runs := self.under_way:
            run, kind = runs[number % len(runs)], ENDS[number // 8 % len(ENDS)]
            self.told.append(f"  call {run.number} of {run.body[:10]!r} to {run.endpoint}: {kind}")
            run.ending = True
            self.happen(partial(run.end, kind), turns)
        else:
            self.arrive(number, turns)

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
                self.happen(readers[0].pause, 0)
                for size in (400_000, 400_000, 10):  # for the reader, for the pipe, and for nobody yet
                    self.happen(partial(run.put, b"y" * size), 3)
                if number % 2:
                    self.leave(readers[0], turns)
                return
        self.arrive(number, turns)

    def move_door(self, number: int, turns: int | None) -> None:
        """An endpoint can be reached from now on, or not."""
        doors = {"abc"[number % 3]: DOORS[number // 3 % len(DOORS)]}
        self.told.append(f"  {doors}")
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
        self.told.append(f"  {SECONDS[number % len(SECONDS)]} s")
        self.ledger.step += 1
        self.rest(SECONDS[number % len(SECONDS)])

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
        if not self.ending:
            self.ending.append(self.loop.create_task(self.gateway.drain()))
            self.happen(lambda: None, turns)
        elif len(self.ending) == 1:
            for run in self.under_way[: number % 2]:  # in this very moment
                run.ending = True
                self.happen(partial(run.end, "ok"), number // 2 % 5)
            self.ending.append(self.loop.create_task(self.gateway.cut_off()))
            self.happen(lambda: None, turns)


def play(plans: Sequence[Plan], events: Sequence[tuple[str, int, int | None]]) -> None:
    """Let these events happen to a gateway that has the first of these configs."""
    machine = Machine(plans[0])
    try:
        for place, (what, number, turns) in enumerate(events):
            if what == "nothing" or (what == "drain" and place < BEFORE_THE_END * len(events)):
                continue
            if what == "reload":
                machine.told.append(f"reload {plans[number % len(plans)]}")
                machine.take_config(plans[number % len(plans)], slow=number // 8 % 2 == 1)
            elif what == "bad reload":
                machine.take_bad_config()
            else:
                machine.told.append(f"{what} {number} {turns}")
                getattr(machine, what)(number, turns)
        wind_down(machine)
        find_nothing_left(machine)
    except BaseException:
        note("\n".join(machine.told))
        machine.stage.abandon()
        raise
    machine.close()
