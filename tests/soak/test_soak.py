"""The soak in a few seconds: the gateway keeps its promises, and one that did not would be found out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.emulator.frames import part, time_exceeded
from tests.soak.facts import HUNG_UP, LOST, Counted, Facts, Farewell, Happened, Outcome, Rest, Sample
from tests.soak.faults import FAULTS, NOTHING
from tests.soak.frames import Stream, read
from tests.soak.keys import Keys
from tests.soak.ledger import GRACE_SECONDS, Arrival, Ledger
from tests.soak.plan import Call, HangUp, Plan
from tests.soak.soak import Settings, soak
from tests.soak.stand import FIXED, TRAFFIC
from tests.soak.verdicts import verdicts

SEED = 1464
"""In its first seconds nearly every fault happens; those that keep permits for long happen early, or not at all."""

SHORT_SEED = 728
"""In its first 1.5 seconds none of these happens."""

MIB = 2**20
BY_NAME = {fault.name: fault for fault in FAULTS}


def broken(facts: Facts) -> list[str]:
    """The promises that were not kept, with what was found."""
    return [
        f"{verdict.promise}: {verdict.measured}; {verdict.examples}" for verdict in verdicts(facts) if not verdict.kept
    ]


async def test_the_promises_are_kept(tmp_path: Path) -> None:
    """Three seconds of all that `make soak` is made of: overload, faults, hang-ups, and what happens beside them."""
    facts = await soak(tmp_path, Settings(Plan(SEED, seconds=3), hang_up=True))

    assert broken(facts) == []
    assert len(facts.outcomes) > 500


async def test_a_gateway_with_too_many_permits_is_found_out(tmp_path: Path) -> None:
    """One instance more than there is: the models count it, and nothing else is wrong."""
    facts = await soak(tmp_path, Settings(Plan(SHORT_SEED, seconds=1.5), hang_up=True, surplus=1, disturbed=False))

    assert facts.rooms["alone"].peak > FIXED["alone"]
    assert {line.partition(":")[0] for line in broken(facts)} == {"never more models at once than there is room for"}


def test_a_seed_is_a_plan() -> None:
    """The same seed gives the same calls, another one others; all ids differ, and times are in order."""
    calls = list(Plan(SEED, seconds=2).calls())

    assert list(Plan(SEED, seconds=2).calls()) == calls
    assert list(Plan(SEED + 1, seconds=2).calls()) != calls
    assert len({call.id for call in calls}) == len(calls)
    assert [call.at for call in calls] == sorted(call.at for call in calls)


def test_a_model_that_goes_on_counts_until_its_own_end() -> None:
    """Whoever begins before that is one too many, however late anybody looks; whoever begins after it is not."""
    now = 0.0
    ledger = Ledger({"alone": 1}, lambda: now)
    room = ledger.rooms["alone"]
    ledger.arrive("alone", "a", NOTHING)
    ledger.end_in("alone", 2.0)

    now = 1.0
    ledger.arrive("alone", "b", NOTHING)
    ledger.end_in("alone", 0)
    assert (room.peak, room.over) == (2, 1)

    now = 5.0
    ledger.arrive("alone", "c", NOTHING)
    assert (room.running, room.over) == (1, 1)
    assert room.busy_seconds == pytest.approx(2.0)


def test_a_smaller_fleet_counts_once_it_can_be_known() -> None:
    """Calls may be under way when the gateway is told; after that the new size holds."""
    now = 0.0
    ledger = Ledger({"elastic": 2}, lambda: now)
    room = ledger.rooms["elastic"]
    ledger.arrive("elastic", "a", NOTHING)
    ledger.tell("elastic", 1)

    now = GRACE_SECONDS / 2
    ledger.arrive("elastic", "b", NOTHING)
    ledger.end_in("elastic", 0)
    assert room.over == 0

    now = 2 * GRACE_SECONDS
    ledger.arrive("elastic", "c", NOTHING)
    assert room.over == 1


@pytest.mark.parametrize(
    ("data", "stream"),
    [
        (part(b"ab") + part(b"c"), Stream(b"abc", None, whole=True)),
        (part(b"ab") + part(b"c")[:-1], Stream(b"ab", None, whole=False)),
        (part(b"ab") + part(b"c")[:-1] + b"!", Stream(b"ab", None, whole=False)),
        (part(b"ab") + time_exceeded(), Stream(b"ab", "ModelStreamError", whole=True)),
    ],
    ids=["good", "cut", "garbled", "error"],
)
def test_frames_are_read_as_an_sdk_reads_them(data: bytes, stream: Stream) -> None:
    """What is no whole stream is none, though botocore's parser takes one that is cut for a good end."""
    assert read(data) == stream


def test_keys_are_good_until_they_expire(tmp_path: Path) -> None:
    """All that were used before; who comes with others is served, and keys that nobody used cannot expire."""
    keys = Keys(tmp_path)
    keys.expire()
    signed = [f"AWS4-HMAC-SHA256 Credential=KEY{number}/20260101/x" for number in range(1, 4)]

    before = [keys.refuse(each) for each in signed[:2]]
    keys.expire()
    keys.expire()

    assert (before, [keys.refuse(each) for each in signed]) == ([False, False], [True, True, False])
    assert (keys.expiries, keys.issued) == (1, 0)


def call(name: str, *, hang_up: HangUp | None = None) -> Call:
    """A call to the endpoint `alone`."""
    return Call(name, 0.0, TRAFFIC[0], TRAFFIC[0].paths[0], False, 0.1, NOTHING, hang_up, 100, True)  # noqa: FBT003


def good_facts() -> Facts:
    """Ten calls: eight answers, one of them an error, and two hang-ups."""
    calls = [call(f"a{number}") for number in range(8)] + [
        call(f"b{number}", hang_up=HangUp(running=True, after=0, reset=False)) for number in range(2)
    ]
    ledger, last = Ledger(FIXED, lambda: 1.0), call("last")
    calls[1] = replace(calls[1], framed=True)
    for each in [*calls, last]:
        ledger.arrive("alone", each.id, BY_NAME["model error"] if each.id == "a0" else NOTHING)
        ledger.end_in("alone", 0)
    outcomes = [Outcome("424"), *[Outcome("200")] * 7, *[Outcome(HUNG_UP)] * 2]
    rest = Rest(20, 4, {"running": 0, "orphaned": 0, "cooling": 0, "waiting": 0})
    requests = {("InvokeEndpoint", "200"): 7, ("InvokeEndpoint", "424"): 1, ("InvokeEndpoint", "499"): 2}
    return Facts(
        seed=1,
        seconds=3.0,
        outcomes=list(zip(calls, outcomes, strict=True)),
        surplus=0,
        late_seconds=0.0,
        rooms=ledger.rooms,
        arrivals=ledger.arrivals,
        strange=[],
        peak_connections=1,
        ended_idle=1,
        samples=[Sample(0, 50 * MIB, 20), Sample(2, 100 * MIB, 30), Sample(3, 109 * MIB, 20)],
        before=rest,
        after=rest,
        counted=Counted(requests, {}, {"unreachable": 1}),
        farewell=Farewell([(last, Outcome("200"))], held=1, code=0, seconds=0.5),
        happened=Happened(expiries=2, renewals=2, absences=2, returns=2, reloads=2, bad_files=1, refused=1),
    )


def lose_one(facts: Facts) -> None:
    """A caller gets nothing."""
    facts.outcomes[3] = facts.outcomes[3][0], Outcome(LOST)


def swap_one(facts: Facts) -> None:
    """A caller is told that all is well, and it is not."""
    facts.outcomes[0] = facts.outcomes[0][0], Outcome("200")


def answer_twice(facts: Facts) -> None:
    """Somebody gets two answers."""
    facts.surplus = 1


def run_twice(facts: Facts) -> None:
    """A model has failed, and the call is sent again."""
    facts.arrivals["a0"].append(Arrival("alone", NOTHING))


def go_astray(facts: Facts) -> None:
    """A call goes where its caller did not ask for."""
    facts.arrivals["a1"][0] = Arrival("left", NOTHING)


def crowd(facts: Facts) -> None:
    """One model too many runs."""
    facts.rooms["alone"].over = 1


def count_less(facts: Facts) -> None:
    """A request is not counted."""
    facts.counted = Counted({("InvokeEndpoint", "200"): 6, ("InvokeEndpoint", "424"): 1}, {})


def refuse_in_secret(facts: Facts) -> None:
    """More is refused than callers can have seen."""
    facts.counted = Counted(facts.counted.requests, {"queue_full": 3})


def keep_a_permit(facts: Facts) -> None:
    """A permit is not given back."""
    facts.after = replace(facts.after, held={"running": 1})


def keep_a_socket(facts: Facts) -> None:
    """A socket stays open."""
    facts.after = replace(facts.after, descriptors=21)


def keep_a_task(facts: Facts) -> None:
    """A task never ends."""
    facts.after = replace(facts.after, tasks=5)


def grow(facts: Facts) -> None:
    """Memory is not given back."""
    facts.samples.append(Sample(4, 111 * MIB, 20))


def happen(facts: Facts, **changes: int) -> None:
    """Something else has happened beside the calls."""
    assert facts.happened is not None
    facts.happened = replace(facts.happened, **changes)


def lose_the_last(facts: Facts) -> None:
    """Somebody gets nothing when the gateway ends."""
    facts.farewell.outcomes[0] = facts.farewell.outcomes[0][0], Outcome(LOST)


def end_badly(facts: Facts) -> None:
    """The gateway does not end as it should."""
    facts.farewell = replace(facts.farewell, code=1)


def stay_away(facts: Facts) -> None:
    """Nobody went on from the endpoint that was away."""
    facts.counted = replace(facts.counted, failovers={})


def complain(facts: Facts) -> None:
    """The log has a traceback."""
    facts.complaints.append("Traceback")


def idle(facts: Facts) -> None:
    """Nothing went wrong that could have."""
    facts.arrivals["a0"][0] = Arrival("alone", NOTHING)
    facts.outcomes[0] = facts.outcomes[0][0], Outcome("200")
    facts.counted = Counted({("InvokeEndpoint", "200"): 8, ("InvokeEndpoint", "499"): 2}, {})


def test_good_facts_are_good() -> None:
    """All promises kept: what the next test spoils."""
    assert broken(good_facts()) == []


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (lose_one, "every caller who stayed"),
        (answer_twice, "every caller who stayed"),
        (swap_one, "and the one that belongs"),
        (run_twice, "no call was sent again"),
        (go_astray, "no call was sent again"),
        (crowd, "never more models"),
        (count_less, "requests_total agrees"),
        (refuse_in_secret, "so does refusals_total"),
        (keep_a_permit, "at the end no permit"),
        (keep_a_socket, "sockets and files"),
        (keep_a_task, "tasks of asyncio"),
        (grow, "resident memory"),
        (complain, "the gateway's log"),
        (idle, "the load was one"),
        (partial(happen, renewals=3), "keys that expire"),
        (partial(happen, expiries=0, renewals=0), "keys that expire"),
        (partial(happen, returns=0), "an endpoint that is away"),
        (stay_away, "an endpoint that is away"),
        (partial(happen, refused=2), "another config is taken"),
        (partial(happen, reloads=0), "another config is taken"),
        (end_badly, "told to end"),
        (lose_the_last, "every caller who stayed"),
    ],
)
def test_each_promise_can_be_broken(spoil: Callable[[Facts], None], promise: str) -> None:
    """What is spoilt is found, under its own heading."""
    facts = good_facts()
    spoil(facts)

    assert any(line.startswith(promise) for line in broken(facts))
