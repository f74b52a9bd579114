"""What has to hold whenever the gateway has come to rest: promise by promise."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.machine.callers import Attempt, Errand
from tests.machine.far_end import ERRORS, Run
from tests.machine.ledger import KEEP_SECONDS, Ledger
from tests.machine.stage import Stage

SLACK = 0.01
"""Seconds that pass without anybody saying so."""

Status = Mapping[str, Mapping[str, Any]]


def check(ledger: Ledger, stage: Stage) -> None:
    """Look at everything."""
    status = stage.status()
    assert not ledger.problems, ledger.problems
    assert not stage.loop.troubles, stage.loop.troubles
    waiting = ledger.waiting()
    check_flow(ledger, stage)
    check_closed(ledger, status, waiting)
    check_counts(ledger, stage, status)
    check_queues(ledger, stage, status, waiting)
    check_order(ledger, status, waiting)
    for attempt in ledger.attempts:
        check_record(ledger, attempt)
    mark_displaced(status, waiting)


def check_counts(ledger: Ledger, stage: Stage, status: Status) -> None:
    """What operators see is what is at the far end."""
    far_end, roster = stage.far_end, stage.gateway.roster
    assert len(roster.calls) == len(far_end.alive())
    unread = [each for each in ledger.attempts if each.open and each.complete is None and not each.stalled]
    assert len(roster.readers) == len(unread)
    for name, now in status.items():
        alive = far_end.alive(name)
        found = (now["capacity"], now["running"], now["cooling"])
        assert found == (ledger.capacity[name], len(alive), far_end.working_on(name)), (name, found)
        attempts = {run.number: ledger.errands[run.body].attempts for run in alive}
        least = [run for run in alive if all(each.left for each in attempts[run.number])]
        most = [run for run in alive if any(each.left for each in attempts[run.number])]
        assert len(least) <= now["orphaned"] <= len(most), (name, now)
    for run in ledger.fresh:
        if run.endpoint not in status:
            run.uncounted = True  # it was on its way when the endpoint left the config
    for name in {"a", "b", "c"} - set(status):
        assert all(run.uncounted for run in far_end.alive(name)), f"{name} has disappeared under its calls"
        assert far_end.all_uncounted(name) or not far_end.working_on(name)
    assert set(ledger.plan.endpoints) <= set(status)


def check_flow(ledger: Ledger, stage: Stage) -> None:
    """A stream that nobody reads any more, or that is read, is taken as it comes; and after the end nobody is here."""
    for run in stage.far_end.alive():
        if run.streams and not any(each.stalled for each in ledger.errands[run.body].attempts):
            assert run.inbox.empty(), f"call {run.number} is not read to its end"
    roster = stage.gateway.roster
    if roster.stopped:
        left = [*stage.far_end.alive(), *roster.turns, *roster.readers]
        assert not left, "somebody was not cut off"


def check_closed(ledger: Ledger, status: Status, waiting: list[Errand]) -> None:
    """Where there is no room one call at a time may try; and nobody waits where nothing can be reached."""
    closed = {name for name, now in status.items() if now["health"]["no_capacity"]}
    for name in closed & ledger.closed:
        tries = [run for run in ledger.fresh if run.endpoint == name and run.over is None]
        assert len(tries) <= 1, f"{len(tries)} calls try {name} at once"
    ledger.closed = closed
    gone = {name for name, now in status.items() if now["health"]["ejected"]}
    for errand in waiting:
        places = {name for attempt in errand.open for tier in attempt.tiers for name in tier}
        assert not places <= gone, f"{errand.body!r} waits for what cannot be reached"


def check_counters(ledger: Ledger, stage: Stage) -> None:
    """Each request is counted once, under the endpoint and the status, or the reason, that the log has."""
    lines = [line for lines in ledger.lines.values() for line in lines]
    for name in ledger.lasting:
        own = [line for line in lines if line["endpoint"] == name]
        assert stage.counter("requests", name, "code") == Counter(str(line["status"]) for line in own)
        reasons = Counter(line["reason"] for line in own if line["reason"] is not None)
        assert stage.counter("refusals", name, "reason") == reasons


def check_queues(ledger: Ledger, stage: Stage, status: Status, waiting: list[Errand]) -> None:
    """Whoever has to wait stands in queues, and nobody waits where there is room, or for longer than they may."""
    assert len(stage.gateway.roster.turns) == len(waiting), [each.body for each in waiting]
    for name, now in status.items():
        possible = [each for each in waiting if any(name in tier for one in each.open for tier in one.tiers)]
        certain = [each for each in waiting if all(one.tiers == ((name,),) for one in each.open)]
        assert len(certain) <= now["waiting"] <= len(possible), (name, now)
        check_bound(ledger, name, certain)
        health = now["health"]
        closed = health["ejected"] or health["no_capacity"]
        if now["waiting"] and (health["probing"] or not closed):
            used = now["running"] + now["cooling"]
            assert used >= (1 if closed else ledger.capacity[name]), f"somebody waits for {name} while there is room"
    moment = stage.loop.time()
    for errand in waiting:
        attempt = errand.open[0]
        if not errand.joins and attempt.complete is not None:
            assert moment - attempt.complete <= attempt.patience[1] + SLACK, f"{attempt.name} waits for too long"


def check_bound(ledger: Ledger, name: str, waiting: list[Errand]) -> None:
    """Newcomers of a route are let in as long as no more wait than may; who comes again has a place."""
    if name not in ledger.plan.endpoints or ledger.changed:
        return
    for route in {errand.route for errand in waiting}:
        own = [errand for errand in waiting if errand.route == route and not ledger.runs(errand) and not errand.joins]
        if any(errand.attempts[0].step > ledger.rested for errand in own):
            assert len(own) <= ledger.plan.endpoints[name]["max_waiting"]


def check_order(ledger: Ledger, status: Status, waiting: list[Errand]) -> None:
    """Nobody of a route was sent before somebody who waits longer for the same endpoint, but who had no other left."""
    gone = {name for name, now in status.items() if now["health"]["ejected"]}
    for run in ledger.fresh:
        errand = ledger.errands[run.body]
        if _has_nowhere_else(errand, run.endpoint, gone | ledger.gone):
            continue
        for other in waiting:
            if other.route == errand.route and _waits_for(ledger, other, run):
                assert _came(ledger, other) >= errand.first, f"{errand.body!r} has overtaken {other.body!r}"
    ledger.fresh.clear()
    ledger.gone = gone


def _has_nowhere_else(errand: Errand, name: str, gone: set[str]) -> bool:
    """Whether an errand may go to an ejected endpoint at once: another config may have others for who waits there."""
    places = [{place for tier in attempt.tiers for place in tier} for attempt in errand.attempts]
    return any(name in each and each <= gone for each in places)


def _waits_for(ledger: Ledger, errand: Errand, sent: Run) -> bool:
    """Whether it is certain that an errand that waits did so for the endpoint of a call when that was sent."""
    tiers = {attempt.tiers for attempt in errand.open}
    if len(tiers) != 1 or errand.displaced:
        return False
    (found,) = tiers
    name, runs = sent.endpoint, ledger.runs(errand)
    if any(run.over is None or run.over >= sent.at for run in runs):
        return False  # it came back in that very step, maybe behind the call
    if (len(found) > 1 and runs) or any(run in ledger.fresh for run in runs):
        return False  # it has had its turn
    return name in found[0] and all(run.answer is ERRORS["no capacity"] for run in runs if run.endpoint == name)


def _came(ledger: Ledger, errand: Errand) -> float:
    """Since when an errand that waits does so at the latest: an SDK that comes again in time has its first place."""
    attempts = errand.attempts
    sure = all(each.complete is not None and each.reply is None and not each.hasty for each in attempts)
    if not errand.joins or (sure and not ledger.runs(errand) and ledger.far_end.now() - errand.first < KEEP_SECONDS):
        return errand.first
    return max(each.complete or 0.0 for each in errand.open)


def mark_displaced(status: Status, waiting: list[Errand]) -> None:
    """Note who may have moved on to a fallback."""
    for errand in waiting:
        for name in {name for attempt in errand.open if len(attempt.tiers) > 1 for name in attempt.tiers[0]}:
            health = status[name]["health"] if name in status else {"ejected": True}
            errand.displaced |= health["ejected"] or health["no_capacity"]


def check_record(ledger: Ledger, attempt: Attempt) -> None:
    """Each request is answered once, and told of once: once it is answered, or its caller and its call are gone."""
    lines = ledger.lines[attempt.name]
    under_way = any(run.over is None for run in ledger.runs(attempt.errand))
    told = {1}
    if attempt.left:
        if under_way:
            told = {0, 1} if attempt.errand.joins else {0}
        if attempt.hasty:
            told = {0, 1}
    elif attempt.open:
        told = {0, 1} if attempt.stalled and attempt.at.is_closing() else {0}  # cut off, and what came before is unread
    assert len(lines) in told, (attempt.name, lines)
    if attempt.cut:  # what has begun to come cannot be refused any more; who reads nothing is left
        assert attempt.errand.streams or attempt.slow, f"{attempt.name} was left without an answer"
    if attempt.reply is None:
        return
    if attempt.gone is None:
        assert lines[0]["status"] == attempt.reply.status, (attempt.name, lines, attempt.reply)
    if not attempt.judged:
        attempt.judged = True
        check_answer(ledger, attempt)


def check_answer(ledger: Ledger, attempt: Attempt) -> None:
    """An answer is that of a call of one's own, as it came; and what the gateway says of a call of its own is true."""
    reply, errand = attempt.reply, attempt.errand
    assert reply is not None
    assert reply.more == b"", f"{attempt.name} was answered twice"
    assert reply.headers["x-request-id"] == attempt.name
    runs = ledger.runs(errand)
    if not reply.own:
        assert errand.joins or not attempt.late
        assert any(_is_of(reply.status, reply.body, run) for run in runs), (attempt.name, reply)
        return
    reason = ledger.lines[attempt.name][0]["reason"]
    assert reply.status != 500, (attempt.name, reply)
    assert (reply.status == 404) == (not attempt.tiers), (attempt.name, reply)
    if attempt.late and attempt.tiers and not errand.joins:
        assert reason == "draining"
    at_the_door = errand.joins and reason == "buffer_full"  # before it is known that it comes again
    if reply.status in (429, 503) and not at_the_door:  # no model has seen it
        told = [run for run in runs if run.seen and _was_its_own(run, attempt)]
        assert not told, (attempt.name, reply, told)
    if reply.status == 424:  # one may have
        may = [run for run in runs if run.over is None or run.over >= attempt.step]
        assert any(run.seen or run.cut for run in may), (attempt.name, reply)
    if reason == "draining":
        assert ledger.draining
    if reason == "queue_timeout" and attempt.complete is not None and not errand.joins:
        waited = ledger.far_end.now() - attempt.complete
        assert waited >= attempt.patience[0] - SLACK, (attempt.name, waited)


def _was_its_own(run: Run, attempt: Attempt) -> bool:
    """Whether a call was under way in the time of an attempt that has been refused; not that of the next to lead."""
    if run.over is not None:
        return run.over > attempt.step
    return run.at < attempt.step or not attempt.errand.joins


def _is_of(status: int, body: bytes, run: Run) -> bool:
    if run.streams and status == 200:
        return run.begun and body == run.sent
    return run.answer is not None and (run.answer.status, run.answer.body) == (status, body)
