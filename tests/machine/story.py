"""One gateway and what is known of it: things happen, it comes to rest, and it is looked at."""

import asyncio
from collections.abc import Callable

from gateway.models import Reloaded
from tests.machine.callers import Attempt, Errand
from tests.machine.configs import BUFFERED_BYTES, ROUTES, Plan
from tests.machine.far_end import Run
from tests.machine.ledger import Ledger
from tests.machine.promises import check
from tests.machine.stage import Stage

FAT = BUFFERED_BYTES // 3


class Story:
    """A gateway, and what it takes to have things happen to it.

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
        self.told: list[str] = []
        """What has happened, in words."""

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

    def want(self, route: int, form: str, limit: float | None = None) -> Errand:
        """Something new to come with."""
        names = tuple(ROUTES if route % 16 == 0 else self.ledger.plan.tiers)
        name = names[route // 16 % len(names)]
        body = b"errand-%d %s" % (len(self.ledger.errands), b"x" * (FAT if form == "fat" else 0))
        errand = self.ledger.errands[body] = Errand(name, body, form == "joins", form == "streams", limit)
        return errand

    def come(self, errand: Errand, turns: int | None, *, whole: bool = True) -> None:
        """Somebody comes."""
        ledger = self.ledger
        tiers = ledger.plan.tiers.get(errand.route, ())
        patience = ledger.plan.patience(errand.route) if tiers else 0.0
        patience = patience if errand.limit is None else min(patience, errand.limit)
        complete, late = self.loop.time() if whole else None, ledger.draining
        errand.displaced |= ledger.may_be_displaced(tiers)
        number = len(ledger.attempts)
        attempt = Attempt(number, errand, tiers, ledger.step + 1, late, (patience, patience), complete)
        ledger.attempts.append(attempt)
        errand.attempts.append(attempt)
        self.told.append(
            f"  {attempt.name} comes for {errand.body[:10]!r} of {errand.route}, limit {errand.limit}, {turns=}"
        )

        def action() -> None:
            attempt.wire = self.stage.connect()
            attempt.wire.send(attempt.head() + (errand.body if whole else errand.body[:4]))

        self.happen(action, turns)

    def send_rest(self, attempt: Attempt, turns: int | None) -> None:
        """The rest of a body comes."""
        attempt.complete = self.loop.time()
        self.happen(lambda: attempt.at.send(attempt.errand.body[4:]), turns)

    def leave(self, attempt: Attempt, turns: int | None) -> None:
        """A caller goes, whatever they wait for."""
        self.told.append(f"  {attempt.name}")

        def action() -> None:
            attempt.look()
            if attempt.open:
                attempt.gone = self.ledger.step
                attempt.at.hang_up()

        attempt.hasty = not self.at_rest
        self.happen(action, turns)

    def take_config(self, plan: Plan, *, slow: bool) -> None:
        """Another config is taken, which may take a moment."""
        if self.reload is None:
            self.rest()
            self.next, self.stage.next = plan, plan.config
            self.ledger.expect(plan)
            self.loop.thread_seconds = 0.2 if slow else 0.0
            self.reload = self.loop.create_task(self.gateway.reload())
            self.happen(lambda: None)

    def close(self) -> None:
        """Close the gateway."""
        self.stage.close()
        assert not self.loop.troubles, self.loop.troubles
