"""Whether each promise was kept: pure, from the facts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from .facts import HUNG_UP, LOST, WRONG_BODY, Facts, Outcome, Sample
from .faults import CUT, DEAD, NOTHING, TOLD
from .ledger import Arrival
from .plan import Call

MEMORY_SECONDS = 60.0
"""When memory is looked at for the first time; in a short soak, after a third of it."""

MEMORY_GROWTH = 1.10
LEAST_FAULTS, LEAST_HANG_UPS = 0.05, 0.10
SHORT = 0.7
"""How much less than the aim the shares may be where chance has had few calls to even out."""

MANY_CALLS = 20_000
SHOWN = 5
HEADED = frozenset({CUT, TOLD, WRONG_BODY})
"""Outcomes of streams that began well: they count with the status of their head."""

NO_ARRIVAL = frozenset({"429", "503"})
"""What a caller may get whose call never met SageMaker: all places taken, waited too long, no capacity."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise.

    Attributes:
        promise: what was promised.
        measured: what was found.
        kept: whether it was kept.
        examples: where it was not, some cases.
    """

    promise: str
    measured: str
    kept: bool
    examples: tuple[str, ...] = ()


def verdicts(facts: Facts) -> list[Verdict]:
    """All of them."""
    return [
        _one_answer(facts),
        _right_answers(facts),
        _capacity(facts),
        _one_run(facts),
        _agreement(facts),
        _refusals(facts),
        _held(facts),
        _descriptors(facts),
        _tasks(facts),
        _memory(facts),
        _no_bugs(facts),
        *_happenings(facts),
        _farewell(facts),
        _load(facts),
    ]


def _one_answer(facts: Facts) -> Verdict:
    lost = [call.id for call, outcome in facts.everybody if outcome.kind == LOST]
    calls, hung_up = len(facts.everybody), facts.kinds()[HUNG_UP]
    return Verdict(
        "every caller who stayed got exactly one answer",
        f"{calls - hung_up - len(lost):,} answers to {calls - hung_up:,} callers; lost {len(lost)}, "
        f"unasked for {facts.surplus}",
        not lost and not facts.surplus,
        _some(_told(facts, lost)),
    )


def _right_answers(facts: Facts) -> Verdict:
    wrong = []
    for call, outcome in facts.everybody:
        arrivals = facts.arrivals.get(call.id, [])
        if outcome.kind not in {LOST, HUNG_UP} and outcome.kind not in _expected(call, arrivals):
            wrong.append(call.id)
    bodies = sum(outcome.kind == WRONG_BODY for _, outcome in facts.everybody)
    return Verdict(
        "and the one that belongs to what SageMaker did with the call",
        f"{len(wrong)} others, {bodies} of them with the body of another call",
        not wrong,
        _some(_told(facts, wrong)),
    )


def _expected(call: Call, arrivals: list[Arrival]) -> frozenset[str]:
    if not arrivals:
        return NO_ARRIVAL
    fault = arrivals[-1].fault
    wanted = fault.framed if call.framed and fault.framed is not None else fault.caller
    # After it the caller may have gone on, and have waited in vain.
    return NO_ARRIVAL | {wanted} if fault.unseen else frozenset({wanted})


def _capacity(facts: Facts) -> Verdict:
    over = {name: room.over for name, room in facts.rooms.items() if room.over}
    peaks = ", ".join(f"{name} {room.peak}" for name, room in facts.rooms.items())
    return Verdict(
        "never more models at once than there is room for",
        f"{sum(over.values())} too many; peaks: {peaks}",
        not over,
        _some(f"{name}: {times} times" for name, times in over.items()),
    )


def _one_run(facts: Facts) -> Verdict:
    twice = [name for name, arrivals in facts.arrivals.items() if not all(each.fault.unseen for each in arrivals[:-1])]
    planned = {call.id: call for call, _ in facts.everybody}
    astray = [
        name
        for name, arrivals in facts.arrivals.items()
        if name not in planned or not {each.endpoint for each in arrivals} <= planned[name].traffic.endpoints
    ]
    runs = sum(room.runs for room in facts.rooms.values())
    return Verdict(
        "no call was sent again after a model may have seen it",
        f"{runs:,} runs; {len(twice)} calls twice, {len(astray)} at the wrong endpoint, "
        f"{len(facts.strange)} not understood",
        not twice and not astray and not facts.strange,
        _some([*_told(facts, twice + astray), *facts.strange]),
    )


def _agreement(facts: Facts) -> Verdict:
    """Whoever hung up is counted as 499, or by the answer that was on its way; if at once, perhaps not at all."""
    told: Counter[tuple[str, str]] = Counter()
    hung_up: Counter[str] = Counter()
    for call, outcome in facts.outcomes:
        if outcome.kind == HUNG_UP:
            hung_up[call.operation] += 1
        elif outcome.kind != LOST:
            told[call.operation, NOTHING.caller if outcome.kind in HEADED else outcome.kind] += 1
    wrong, unseen = [], 0
    for operation in {call.operation for call, _ in facts.outcomes}:
        counted = {code: number for (of, code), number in facts.counted.requests.items() if of == operation}
        ours = {code: number for (of, code), number in told.items() if of == operation}
        wrong += [
            f"{operation} {code}: callers {ours[code]}, metric {counted.get(code, 0)}"
            for code in ours
            if counted.get(code, 0) < ours[code]
        ]
        missing = sum(ours.values()) + hung_up[operation] - sum(counted.values())
        unseen += missing
        if not 0 <= missing <= hung_up[operation]:
            wrong.append(f"{operation}: {missing} callers more than requests")
    extra = sum(facts.counted.requests.values()) - sum(told.values())
    return Verdict(
        "requests_total agrees with the callers, by operation and code",
        f"{sum(facts.counted.requests.values()):,} requests; {sum(told.values()):,} answers, {extra:,} hang-ups, "
        f"{unseen} who left before they were heard",
        not wrong,
        _some(wrong),
    )


def _refusals(facts: Facts) -> Verdict:
    hung_up, wrong, parts = facts.kinds()[HUNG_UP], [], []
    for name, kinds, reasons in (
        ("429", ("429",), ("queue_full", "queue_timeout", "long_wait", "buffer_full")),
        ("503", ("503",), ("no_capacity", "unreachable", "credentials", "draining")),
        ("424 and cuts", ("424", CUT), ("timeout", "broken")),
        ("others", ("400", "500"), ("bad_request", "internal")),
    ):
        ours = sum(outcome.kind in kinds and _is_own(outcome) for _, outcome in facts.outcomes)
        counted = sum(facts.counted.refusals.get(reason, 0) for reason in reasons)
        parts.append(f"{name} {ours:,} of {counted:,}")
        if not ours <= counted <= ours + hung_up:
            wrong.append(f"{name}: callers {ours}, metrics {counted}, hang-ups {hung_up}")
    return Verdict("so does refusals_total, but for hang-ups", "; ".join(parts), not wrong, _some(wrong))


def _is_own(outcome: Outcome) -> bool:
    return outcome.own or outcome.kind == CUT


def _held(facts: Facts) -> Verdict:
    held = {name: number for name, number in facts.after.held.items() if number}
    text = ", ".join(f"{name} {number}" for name, number in facts.after.held.items())
    return Verdict("at the end no permit is taken and nobody waits", text, not held)


def _descriptors(facts: Facts) -> Verdict:
    peak = max(sample.descriptors for sample in facts.samples)
    return _back("sockets and files", facts.before.descriptors, facts.after.descriptors, f", at most {peak}")


def _tasks(facts: Facts) -> Verdict:
    return _back("tasks of asyncio", facts.before.tasks, facts.after.tasks, "")


def _back(what: str, before: int, after: int, more: str) -> Verdict:
    return Verdict(f"{what} are back at the base line", f"{before} before, {after} after{more}", after <= before)


def _memory(facts: Facts) -> Verdict:
    moment = min(MEMORY_SECONDS, facts.seconds / 3)
    first = next((sample for sample in facts.samples if sample.at >= moment), facts.samples[-1])
    later = max((sample for sample in facts.samples if sample.at >= first.at), key=attrgetter("resident_bytes"))
    last = facts.samples[-1]
    growth = later.resident_bytes / first.resident_bytes
    return Verdict(
        f"resident memory stays within {MEMORY_GROWTH - 1:.0%} of what it was after {moment:.0f} s",
        f"{_mib(first)} then, at most {_mib(later)} ({growth - 1:+.1%}), {_mib(last)} at the end",
        growth <= MEMORY_GROWTH,
    )


def _no_bugs(facts: Facts) -> Verdict:
    number = len(facts.complaints)
    return Verdict("the gateway's log speaks of no bug", f"{number} lines", not number, _some(facts.complaints))


def _happenings(facts: Facts) -> Iterable[Verdict]:
    """What happened beside the calls, and what the gateway made of it."""
    found = facts.happened
    if found is None:
        return
    yield Verdict(
        "keys that expire are replaced, once each time",
        f"{found.expiries} expiries, {found.renewals} renewals",
        found.expiries == found.renewals > 0,
    )
    left = facts.counted.failovers.get("unreachable", 0)
    yield Verdict(
        "an endpoint that is away is left out, and has calls again when it is back",
        f"away {found.absences} times, back {found.returns} times; {left:,} callers went on to another",
        found.returns in {found.absences, max(1, found.absences - 1)} and left > 0,
    )
    yield Verdict(
        "another config is taken, and a file that is none is refused",
        f"{found.reloads} taken; {found.refused} of {found.bad_files} refused",
        found.reloads > 0 and found.refused == found.bad_files > 0,
    )
    missed = sum(each.fault is DEAD for arrivals in facts.arrivals.values() for each in arrivals)
    framed = sum(call.framed and outcome.kind != HUNG_UP for call, outcome in facts.outcomes)
    yield Verdict(
        "there were SDKs that read frames, and connections that ended while they idled",
        f"{framed:,} streams in frames; {facts.ended_idle:,} connections, {missed} of them with a call on its way",
        framed > 0 and facts.ended_idle > 0,
    )


def _farewell(facts: Facts) -> Verdict:
    end = facts.farewell
    kinds = Counter(outcome.kind for _, outcome in end.outcomes)
    text = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
    return Verdict(
        "told to end, the gateway serves who is there, and exits with 0",
        f"{end.held} ran or waited then; in all {text}; exit {end.code} after {end.seconds:.1f} s",
        end.code == 0 and end.held > 0 and kinds[NOTHING.caller] > 0,
    )


def _load(facts: Facts) -> Verdict:
    calls = len(facts.outcomes)
    hung_up = facts.kinds()[HUNG_UP] / calls
    met = [arrivals[0].fault for arrivals in facts.arrivals.values()]
    faults = sum(fault is not NOTHING for fault in met) / max(1, len(met))
    share = 1.0 if calls >= MANY_CALLS else SHORT
    return Verdict(
        f"the load was one: {LEAST_FAULTS:.0%} faults, {LEAST_HANG_UPS:.0%} hang-ups",
        f"{calls:,} calls, {calls / facts.seconds:.0f}/s; {faults:.1%} faults, {hung_up:.1%} hang-ups; "
        f"sent {facts.late_seconds * 1000:.0f} ms late at most",
        faults >= share * LEAST_FAULTS and hung_up >= share * LEAST_HANG_UPS,
    )


def _told(facts: Facts, names: list[str]) -> Iterable[str]:
    """What is known of some calls."""
    wanted = set(names[:SHOWN])
    for call, outcome in facts.everybody:
        if call.id in wanted:
            met = [f"{each.endpoint}: {each.fault.name}" for each in facts.arrivals.get(call.id, [])]
            yield f"{_planned(call)} got {outcome.kind}; SageMaker saw {met or 'nothing'}"


def _planned(call: Call) -> str:
    leaves = "" if call.hang_up is None else f", {call.hang_up}"
    return f"{call.id} at {call.at:.3f} s, {call.operation}, {call.body_bytes} bytes{leaves}"


def _some(examples: Iterable[str]) -> tuple[str, ...]:
    return tuple(examples)[:SHOWN]


def _mib(sample: Sample) -> str:
    return f"{sample.resident_bytes / 2**20:.1f} MiB"
