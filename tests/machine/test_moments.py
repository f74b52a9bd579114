"""Orders of events that the machine has found, one by one."""

import pytest

from gateway.health import REFUSALS
from tests.machine.configs import PLENTY, ROUTES, Plan
from tests.machine.ending import find_nothing_left, wind_down
from tests.machine.machine import Machine

ONE = {"instances": 1, "max_waiting": PLENTY, "queue_seconds": 30.0, "call_seconds": 70.0, "elsewhere": False}


@pytest.mark.parametrize("turns", range(8))
def test_a_call_that_is_cut_off_before_it_begins_is_not_sent(turns: int) -> None:
    """However far a request has come when everybody is cut off: 503 where it was not sent, and its permit is back."""
    machine = Machine(Plan({"a": ONE}, 1))
    machine.come(machine.want(0, "plain"), turns)
    machine.ending.append(machine.loop.create_task(machine.gateway.cut_off()))
    machine.happen(lambda: None)

    (attempt,) = machine.ledger.attempts
    assert attempt.reply is not None
    assert attempt.reply.status == (424 if machine.far_end.runs else 503)
    wind_down(machine)
    find_nothing_left(machine)
    machine.close()


@pytest.mark.parametrize("door", ["shut", "open"])
def test_who_has_nowhere_else_to_go_is_sent_before_who_waits_for_another(door: str) -> None:
    """Where b is ejected and a has no capacity, both are waited for; whose route has only b from now on tries it."""
    machine = Machine(Plan({"a": ONE, "b": ONE}, 1))
    machine.far_end.doors.update(a="empty", b="shut")
    for route in ["b"] * REFUSALS + ["pair"] * 2:
        machine.come(machine.want(16 * [*ROUTES].index(route), "plain"), None)
    machine.take_config(Plan({"b": ONE, "c": {**ONE, "instances": "auto"}}, 1), slow=False)
    machine.far_end.doors["b"] = door
    machine.come(machine.want(16 * [*ROUTES].index("pair"), "plain"), None)

    *_, waits, last = machine.ledger.attempts
    assert (waits.open, machine.far_end.runs[-1].body) == (True, last.errand.body)
    wind_down(machine)
    find_nothing_left(machine)
    machine.close()
