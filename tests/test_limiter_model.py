"""The limiter beside a model of it: any order of events, several routes."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from gateway.limiter import Limiter, Permit, PermitMisuseError
from gateway.models import Statistics
from tests.doubles import Caller, Clock

MAX_WAITING = 5
ROUTES = ("a", "b", "c")


class LimiterModel(RuleBasedStateMachine):
    """Whatever happens in whatever order, the limiter is what plain lists of waiters and three counts say."""

    permits = Bundle("permits")
    """Permits that are out, each with the state that it should have."""

    @initialize(capacity=st.integers(0, 4))
    def open(self, capacity: int) -> None:
        """A limiter that nobody has asked yet."""
        self.clock = Clock()
        self.limiter = Limiter(capacity=capacity, max_waiting=MAX_WAITING, clock=self.clock)
        self.capacity = capacity
        self.most: int | None = None
        self.restricted: set[Permit] = set()  # those that were granted under the restriction
        self.lines: dict[str, list[tuple[Caller, float]]] = {route: [] for route in ROUTES}
        self.order: list[str] = []  # of the routes with somebody in line: who is asked next
        self.running: set[Permit] = set()
        self.orphaned: set[Permit] = set()
        self.cooling: set[Permit] = set()
        self.arrived: list[Caller] = []
        self.held_before = 0

    def held(self) -> int:
        """Permits that are out."""
        return len(self.running) + len(self.orphaned) + len(self.cooling)

    def has_room(self) -> bool:
        """Whether the queue moves."""
        return self.held() < self.capacity and (self.most is None or len(self.restricted) < self.most)

    def grant(self, permit: Permit) -> None:
        """Let the model know of a permit that was granted in the usual way."""
        self.running.add(permit)
        if self.most is not None:
            self.restricted.add(permit)

    def waiting(self) -> list[tuple[Caller, float]]:
        """All who wait, and since when."""
        return [place for line in self.lines.values() for place in line]

    def take_out(self, caller: Caller) -> None:
        """Let the model forget somebody who waits; a route with nobody left loses its place among the routes."""
        line = self.lines[caller.route]
        line[:] = [place for place in line if place[0] is not caller]
        if not line:
            self.order.remove(caller.route)

    def expect_grants(self) -> list[Permit]:
        """Let the model do what the limiter has just done: hand what is free to the first who are still there.

        They are the first of their route, and the routes are asked in turn; whoever has gone costs their route no turn.
        """
        granted = []
        while self.order and self.has_room():
            caller, _ = self.lines[self.order[0]][0]
            assert caller.asked == 1
            self.take_out(caller)
            if caller.gone:
                assert caller.permit is None
            else:
                assert caller.permit is not None
                assert caller.permit.limiter is self.limiter
                if not caller.hasty:
                    self.grant(caller.permit)
                    granted.append(caller.permit)
                if self.lines[caller.route]:
                    self.order.append(self.order.pop(0))
        assert not any(caller.asked for caller, _ in self.waiting())
        return granted

    def expect_place(self, caller: Caller, since: float | None) -> None:
        """Let the model put somebody in line: at its end, or before the first who came no earlier."""
        line = self.lines[caller.route]
        place = len(line)
        if since is not None:
            place = next((number for number, (_, came) in enumerate(line) if came >= since), place)
        line.insert(place, (caller, self.clock.now if since is None else since))
        if caller.route not in self.order:
            self.order.append(caller.route)
        self.arrived.append(caller)

    @rule(target=permits, route=st.sampled_from(ROUTES))
    def acquire(self, route: str) -> object:
        """A newcomer gets a permit exactly when there is room and nobody is before them; else they queue, if they may.

        Whoever gets nothing makes no permit.
        """
        free = self.has_room() and not self.waiting()
        assert self.limiter.free == free
        permit = self.limiter.acquire_nowait()
        assert (permit is not None) == free
        if permit is not None:
            self.grant(permit)
            return permit
        return multiple() if self.limiter.full(route) else self.queue(route, since=None)

    @rule(target=permits)
    def acquire_beyond(self) -> object:
        """Whom a restriction is not meant for gets a permit exactly when the capacity has room, whoever waits."""
        permit = self.limiter.acquire_beyond()
        assert (permit is not None) == (self.held() < self.capacity)
        if permit is None:
            return multiple()
        self.running.add(permit)
        return permit

    @rule(
        target=permits,
        route=st.sampled_from(ROUTES),
        since=st.none() | st.floats(-50, 0),
        gone=st.booleans(),
        hasty=st.booleans(),
    )
    def queue(self, route: str, *, since: float | None, gone: bool = False, hasty: bool = False) -> object:
        """Whoever queues gets what is free at once; they may have gone by then, and decline, or be done at once."""
        caller = Caller(route)
        caller.gone, caller.hasty = gone, hasty
        since = None if since is None else self.clock.now + since
        self.limiter.enqueue(caller, since=since)
        self.expect_place(caller, since)
        return multiple(*self.expect_grants())

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A waiter may leave from anywhere in the queue of any route, once."""
        caller = data.draw(st.sampled_from([caller for caller, _ in self.waiting()]))
        self.take_out(caller)
        assert self.limiter.leave(caller) is True
        assert self.limiter.leave(caller) is False
        assert caller.asked == 0

    @precondition(lambda self: any(not caller.gone for caller, _ in self.waiting()))
    @rule(data=st.data())
    def go_in_the_turn_of_the_grant(self, data: st.DataObject) -> None:
        """A waiter may have gone without having had the time to leave: it will decline."""
        data.draw(st.sampled_from([caller for caller, _ in self.waiting() if not caller.gone])).gone = True

    @rule(data=st.data(), route=st.sampled_from((*ROUTES, "nobody's")))
    def leave_too_late(self, data: st.DataObject, route: str) -> None:
        """Whoever is not in the queue, or not any more, cannot leave it."""
        waiting = {caller for caller, _ in self.waiting()}
        left = [caller for caller in self.arrived if caller not in waiting]
        caller = data.draw(st.sampled_from([*left, Caller(route)]))
        assert self.limiter.leave(caller) is False

    @rule(target=permits, permit=consumes(permits))
    def release(self, permit: Permit) -> object:
        """A permit comes back, once, and what is free goes to the first in the queue in the same turn."""
        permit.release()
        for state in (self.running, self.orphaned, self.cooling, self.restricted):
            state.discard(permit)
        granted = self.expect_grants()
        for misuse in (permit.release, permit.orphan, permit.cool):
            with pytest.raises(PermitMisuseError):
                misuse()
        return multiple(*granted)

    @rule(permit=permits)
    def orphan(self, permit: Permit) -> None:
        """A running call may lose its caller, once; that frees nothing."""
        if permit in self.running:
            permit.orphan()
            self.running.remove(permit)
            self.orphaned.add(permit)
        else:
            with pytest.raises(PermitMisuseError):
                permit.orphan()

    @rule(permit=permits)
    def cool(self, permit: Permit) -> None:
        """A call may be given up, once; that frees nothing."""
        if permit in self.cooling:
            with pytest.raises(PermitMisuseError):
                permit.cool()
        else:
            permit.cool()
            self.running.discard(permit)
            self.orphaned.discard(permit)
            self.cooling.add(permit)

    @rule(target=permits, capacity=st.integers(0, 6))
    def resize(self, capacity: int) -> object:
        """The capacity changes: more of it admits waiters at once, less of it ends no call."""
        self.limiter.resize(capacity)
        self.capacity = capacity
        return multiple(*self.expect_grants())

    @rule(target=permits, most=st.none() | st.integers(0, 3))
    def restrict(self, most: int | None) -> object:
        """A restriction comes, changes or goes, whatever the capacity: what it leaves free is handed out at once."""
        self.limiter.restrict(most)
        self.most = most
        if most is None:
            self.restricted.clear()
        return multiple(*self.expect_grants())

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def statistics_are_the_models(self) -> None:
        """The limiter says of itself what is so; nobody waits while there is room; no step goes above the capacity."""
        waiting = self.waiting()
        assert self.limiter.statistics() == Statistics(
            capacity=self.capacity,
            running=len(self.running) + len(self.orphaned),
            orphaned=len(self.orphaned),
            cooling=len(self.cooling),
            waiting=len(waiting),
            oldest_waiter_seconds=max((self.clock.now - since for _, since in waiting), default=0.0),
        )
        assert self.limiter.waiting == len(waiting)
        for route, line in self.lines.items():
            assert self.limiter.full(route) == (len(line) >= MAX_WAITING)
        assert not (waiting and self.has_room())
        assert self.held() <= max(self.held_before, self.capacity)
        self.held_before = self.held()

    def teardown(self) -> None:
        """When all have been served and all has been given back, nothing is left."""
        self.limiter.restrict(None)
        self.most = None
        self.expect_grants()
        self.limiter.resize(1_000)
        self.capacity = 1_000
        self.expect_grants()
        for permit in self.running | self.orphaned | self.cooling:
            permit.release()
        assert self.limiter.statistics() == Statistics(1_000, 0, 0, 0, 0, 0.0)


LimiterModel.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestLimiterModel = LimiterModel.TestCase
