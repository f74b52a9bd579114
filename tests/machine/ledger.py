"""The books beside the gateway: who has come, how many calls there may be, and what must never be sent."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from gateway.app import Gateway
from gateway.pace import LEAST_CALLS
from tests.machine.callers import Attempt, Errand, Tiers
from tests.machine.configs import PLENTY, Plan
from tests.machine.far_end import ERRORS, FarEnd, Run

KEEP_SECONDS = 60.0
"""How long a good answer is kept that reached nobody."""


class Ledger:
    """What has happened so far.

    Args:
        plan: the config that holds at first.

    Attributes:
        step: how many things have happened.
        capacity: of each endpoint that ever was, how many calls there may be.
        problems: what must not have happened.
    """

    def __init__(self, plan: Plan) -> None:
        self.step = 0
        self.plan = plan
        self.errands: dict[bytes, Errand] = {}
        self.attempts: list[Attempt] = []
        self.capacity: dict[str, int] = {}
        self._soon: dict[str, int] = {}
        self._limiters: dict[str, object] = {}
        self.fresh: list[Run] = []
        """The calls that were sent since it was looked last."""
        self.lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.problems: list[str] = []
        self.rested = 0
        """The step at which all came to rest last."""
        self.changed = False
        """Whether another config has come to hold since."""
        self.closed: set[str] = set()
        """Where there was no capacity then."""
        self.gone: set[str] = set()
        """What was ejected then."""
        self.lasting = set(plan.endpoints)
        """The endpoints that have been in all configs, so that their series are as old as the gateway."""
        self.expect(plan)

    def bind(self, far_end: FarEnd, gateway: Gateway) -> None:
        """Say where calls go, and by whom."""
        self.far_end, self._roster = far_end, gateway.roster
        self._limiters.update(gateway.limiters)

    @property
    def draining(self) -> bool:
        """Whether newcomers are refused because the gateway goes away."""
        return self._roster.draining

    # --- capacity

    def expect(self, plan: Plan) -> None:
        """Another config is about to hold: while it comes, the larger capacity counts."""
        for name, each in plan.endpoints.items():
            if each["instances"] != "auto":
                self.read(name, each["instances"])

    def read(self, name: str, instances: int) -> None:
        """The control plane has told how large a fleet is; with none, one call at a time may try."""
        self._soon[name] = max(1, instances)

    def adopt(self, plan: Plan, limiters: Mapping[str, object]) -> None:
        """Another config holds; an endpoint whose fleet was never read lets one call at a time try."""
        for name in plan.endpoints:
            if self._limiters.get(name) is not limiters[name]:
                self._soon.setdefault(name, 1)
        self._limiters.update(limiters)
        self.lasting &= set(plan.endpoints)
        self.changed = True
        self.plan = plan
        for attempt in self.attempts:
            if attempt.open:
                least, most = attempt.patience
                names = attempt.tiers[0] if attempt.tiers else ()
                found = [float(plan.endpoints[name]["queue_seconds"]) for name in names if name in plan.endpoints]
                attempt.patience = min([least, *found]), max([most, *found])

    def settle(self, *, reloading: bool) -> None:
        """All has come to rest: from now on the capacity is what was said last."""
        for name in list(self._soon):
            if not reloading or self.plan.endpoints.get(name, {}).get("instances") == "auto":
                self.capacity[name] = self._soon.pop(name)

    def room(self, name: str) -> int:
        """How many calls there may be at most, at this moment."""
        return max(self.capacity.get(name, 0), self._soon.get(name, 0))

    # --- who waits

    def runs(self, errand: Errand) -> list[Run]:
        """The calls that were sent for it."""
        return [run for run in self.far_end.runs if run.body == errand.body]

    def may_be_displaced(self, tiers: Tiers) -> bool:
        """Whether somebody who comes now may go on to a fallback because the wait is too long, or the queue is full."""
        if len(tiers) < 2:
            return False
        good = Counter(run.endpoint for run in self.far_end.runs if run.answer is not None and run.answer.status == 200)
        return any(good[name] >= LEAST_CALLS or self.plan.endpoints[name]["max_waiting"] < PLENTY for name in tiers[0])

    def waiting(self) -> list[Errand]:
        """Whoever has come and has neither an answer nor a call."""
        busy = {run.body for run in self.far_end.alive()}
        return [errand for errand in self.errands.values() if errand.open and errand.body not in busy]

    # --- what must not be sent

    def watch(self, run: Run) -> None:
        """Look at a call that is about to be sent."""
        far_end, errand = self.far_end, self.errands[run.body]
        under_way = len(far_end.alive(run.endpoint)) + far_end.working_on(run.endpoint)
        if under_way >= self.room(run.endpoint) and not self._has_permit(run, errand):
            self._wrong(run, f"{under_way} calls are there already, and there is room for {self.room(run.endpoint)}")
        if self._roster.stopped:
            self._wrong(run, "everybody was cut off")
        if errand.open and all(attempt.late for attempt in errand.open) and not errand.joins:
            self._wrong(run, "it came after the drain had begun")
        if not any(run.endpoint in tier for attempt in errand.attempts for tier in attempt.tiers):
            self._wrong(run, "its route does not lead there")
        for earlier in self.runs(errand):
            self._compare(run, earlier, errand)
        self.fresh.append(run)

    def _has_permit(self, run: Run, errand: Errand) -> bool:
        """Whether it is the second try of a call whose keys were refused in this moment, with the same permit."""
        last = [
            each for each in self.runs(errand) if each.endpoint == run.endpoint and each.answer is ERRORS["expired"]
        ]
        return bool(last) and last[-1].ended == self.far_end.now()

    def gave_up(self, run: Run) -> None:
        """Look at a call that the gateway has ended."""
        if not self._roster.stopped:
            self._wrong(run, "it was given up, while its model works on")

    def _compare(self, run: Run, earlier: Run, errand: Errand) -> None:
        if earlier.over is None:
            self._wrong(run, "there is a call of it already")
        elif earlier.seen and not errand.joins:
            self._wrong(run, "a model may have seen it")
        elif earlier.seen and not any(attempt.step >= earlier.over for attempt in errand.attempts):
            self._wrong(run, "a model may have seen it, and nobody has asked since")
        elif self._kept(earlier, errand):
            self._wrong(run, "there is a good answer to it, which reached nobody")

    def _kept(self, run: Run, errand: Errand) -> bool:
        if not errand.joins or run.answer is None or run.answer.status != 200:
            return False
        told = [attempt.wire and attempt.wire.reply for attempt in errand.attempts]
        if any(attempt.hasty for attempt in errand.attempts) or any(reply and reply.status == 200 for reply in told):
            return False
        return self.far_end.now() - run.ended < KEEP_SECONDS

    def _wrong(self, run: Run, why: str) -> None:
        self.problems.append(f"call {run.number} of {run.body!r} to {run.endpoint}: {why}")
