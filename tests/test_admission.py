"""Admission: late binding over several endpoints, fallbacks in order, and going on after a call that no model saw."""

import gc
from collections import Counter
from weakref import ref

import pytest

from gateway.errors import DRAINING, NO_CAPACITY, QUEUE_FULL, QUEUE_TIMEOUT, UNREACHABLE, Row
from gateway.health import REFUSALS
from gateway.models import Unseen
from tests.scene import ASYNC, Guest, Scene

both_causes = pytest.mark.parametrize("cause", [UNREACHABLE, NO_CAPACITY], ids=lambda row: row.reason)
AB = {"a": 1, "b": 1}
LATER = "The call was not sent: try again later."


def places(guests: list[Guest]) -> list[str | None]:
    """Where each of them is; None where they wait."""
    return [guest.at for guest in guests]


# Room


async def test_where_several_have_room_weights_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, without a queue: 3 of 4 calls go to the endpoint with weight 3."""
    scene = Scene(monkeypatch, {"a": 3, "b": 1}, settings={"a": {"instances": 9}, "b": {"instances": 9}})
    guests = await scene.come_all(8)

    assert Counter(places(guests)) == {"a": 6, "b": 2}
    assert {(guest.admission.waited, guest.admission.failovers) for guest in guests} == {(0.0, ())}
    assert scene.traces() == []


async def test_where_one_has_room_it_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its weight: nobody waits for a share while there is room."""
    scene = Scene(monkeypatch, {"a": 1_000_000, "b": 1}, settings={"b": {"instances": 3}})
    assert sorted(map(str, places(await scene.come_all(5)))) == ["None", "a", "b", "b", "b"]


async def test_an_endpoint_asked_for_by_name_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callers wait for it, whoever else has room."""
    scene = Scene(monkeypatch, AB)
    assert places(await scene.come_all(2, "a")) == ["a", None]
    assert scene.state() == {"a": (1, 1), "b": (0, 0)}


# Waiting


@pytest.mark.parametrize("first", ["a", "b"])
async def test_who_waits_is_bound_to_what_comes_free_first(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """They stand in the queues of all targets, and in none once one of these has admitted them."""
    scene = Scene(monkeypatch, {"a": 9, "b": 1})
    running = {guest.at: guest for guest in await scene.come_all(2)}
    waiting = await scene.come()
    assert (waiting.at, scene.state()) == (None, {"a": (1, 1), "b": (1, 1)})

    await scene.time.pass_by(2.5)
    await running[first].release()

    assert (waiting.at, waiting.admission.waited) == (first, 2.5)
    assert (scene.state(), scene.traces()) == ({"a": (1, 0), "b": (1, 0)}, [])
    await waiting.release()


@pytest.mark.parametrize("end", ["granted", "too long", "gone"])
async def test_a_turn_that_is_over_is_held_by_nobody(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Also without the help of the collector of cycles, which comes once a minute."""
    scene = Scene(monkeypatch, AB)
    running = await scene.come_all(2)
    gc.disable()
    try:
        waiting = await scene.come()
        gone = [ref(turn) for turn in scene.roster.turns]
        if end == "granted":
            await running[0].release()
        elif end == "too long":
            await scene.time.pass_by(100)
            assert waiting.refusal.row is QUEUE_TIMEOUT
        else:
            await waiting.hang_up()
        del waiting

        assert [turn() for turn in gone] == [None]
    finally:
        gc.enable()


async def test_first_come_first_served_over_two_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them comes free, it is the turn of whoever has waited longest; a newcomer overtakes nobody."""
    scene = Scene(monkeypatch, AB, settings={"a": {"instances": 2}})
    running = await scene.come_all(3)
    waiting = await scene.come_all(6)
    for number in range(6):
        await running.pop(number % len(running)).release()
        waiting += [await scene.come()]
        assert [guest.at is not None for guest in waiting] == [place <= number for place in range(len(waiting))]
        running.append(waiting[number])
    assert set(scene.state().values()) == {(2, 6), (1, 6)}


async def test_a_flood_of_a_route_leaves_the_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who wants one endpoint by name, behind twenty of a route to it, is served second."""
    scene = Scene(monkeypatch, AB)
    running = await scene.come_all(2)
    flood, direct = await scene.come_all(20), await scene.come("b")
    at_b = next(guest for guest in running if guest.at == "b")
    await at_b.release()
    assert (flood[0].at, direct.at) == ("b", None)
    await flood[0].release()
    assert (flood[1].at, direct.at) == (None, "b")


async def test_who_leaves_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hanging up while waiting at two: no place, no watcher, no turn; and their permit is another's."""
    scene = Scene(monkeypatch, AB)
    running = await scene.come_all(2)
    leaving, behind = await scene.come_all(2)
    await leaving.hang_up()
    assert len(scene.traces()) == 2 + 2 + 1
    await running[0].release()
    assert (behind.at, scene.traces()) == (running[0].at, [])


async def test_who_leaves_in_the_turn_of_the_grant_loses_no_permit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Admitted and gone before they could look: the permit is the next one's."""
    scene = Scene(monkeypatch, AB)
    running = await scene.come_all(2)
    leaving, behind = await scene.come_all(2)
    assert running[0].at is not None
    assert running[0].permit is not None
    running[0].permit.release()
    await leaving.hang_up()
    assert (behind.at, scene.state()) == (running[0].at, {"a": (1, 0), "b": (1, 0)})


async def test_who_waits_can_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the gateway all who wait are refused, and nothing is left behind."""
    scene = Scene(monkeypatch, AB)
    await scene.come_all(2)
    waiting = await scene.come_all(3)
    assert scene.roster.cut_off() == (3, 0)
    await scene.time.settle()
    assert ({guest.refusal.row for guest in waiting}, scene.traces()) == ({DRAINING}, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "No instance of endpoint a came free within 5 s."),
        ("r", "No instance of the endpoints a, b, c came free within 7 s."),
    ],
)
async def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """After the longest time of its endpoints, at that moment; the refusal names them."""
    scene = Scene(
        monkeypatch,
        AB,
        fallback="c",
        settings={key: {"queue": {"timeout_seconds": seconds}} for key, seconds in (("a", 5), ("b", 7), ("c", 6))},
    )
    await scene.come_all(2)
    waiting = await scene.come(name)
    seconds = 5 if name == "a" else 7
    await scene.time.pass_by(seconds - 0.5)
    assert waiting.at is None
    await scene.time.pass_by(0.5)
    assert (waiting.refusal.row, waiting.refusal.message) == (QUEUE_TIMEOUT, f"{text} {LATER}")
    assert (waiting.admission.waited, scene.traces()) == (seconds, [])


# Full queues


def short(*names: str, most: int = 1) -> dict[str, dict[str, object]]:
    """Settings by which so few may wait at each of these."""
    return {name: {"queue": {"max_waiting": most}} for name in names}


async def test_a_full_queue_leads_to_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and not before as many wait at each target as may; that is told of each of them."""
    scene = Scene(monkeypatch, AB, fallback="cd", settings=short("a", "c", "d") | short("b", most=2))
    guests = await scene.come_all(8)
    assert Counter(places(guests[:2])) == {"a": 1, "b": 1}
    assert places(guests[2:]) == [None, None, "c", None, "d", None]
    assert scene.state() == {"a": (1, 2), "b": (1, 2), "c": (1, 1), "d": (1, 1)}
    targets = [("a", Unseen.QUEUE_FULL, None), ("b", Unseen.QUEUE_FULL, None)]
    assert [guest.passed for guest in guests] == [
        *[[]] * 4,
        *[targets] * 2,
        *[[*targets, ("c", Unseen.QUEUE_FULL, None)]] * 2,
    ]


@pytest.mark.parametrize("most", [0, 1])
async def test_where_all_queues_are_full_nobody_waits(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """One more is refused at once, and leaves nothing behind."""
    scene = Scene(monkeypatch, {"a": 1}, fallback="b", settings=short("a", "b", most=most))
    await scene.come_all(2 + 2 * most)
    before = scene.state()
    guest = await scene.come()
    assert (guest.refusal.row, guest.refusal.message) == (
        QUEUE_FULL,
        f"All permits of the endpoints a, b are taken, and {most} callers wait already, as many as may. {LATER}",
    )
    assert (guest.admission.waited, guest.passed, scene.state()) == (None, [("a", Unseen.QUEUE_FULL, None)], before)


async def test_one_full_queue_of_two_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may wait at one target waits at the other as well, and takes what comes free first there, too."""
    scene = Scene(monkeypatch, AB, settings=short("a") | short("b", most=3))
    running = {guest.at: guest for guest in await scene.come_all(2)}
    waiting = await scene.come_all(3)
    assert scene.state() == {"a": (1, 3), "b": (1, 3)}
    assert (await scene.come()).refusal.row is QUEUE_FULL
    await running["a"].release()
    assert waiting[0].at == "a"


# Endpoints that take no calls


@both_causes
async def test_a_tier_that_takes_no_calls_is_left_out(monkeypatch: pytest.MonkeyPatch, cause: Row) -> None:
    """Where there is a fallback nobody waits for it, though it has permits; and the reason is told."""
    scene = Scene(monkeypatch, AB, fallback="c")
    for name in AB:
        await scene.close(name, cause)
    guests = await scene.come_all(2)
    assert places(guests) == ["c", None]
    assert scene.state() == {"a": (0, 0), "b": (0, 0), "c": (1, 1)}
    assert guests[0].passed == [("a", Unseen(cause.reason), None), ("b", Unseen(cause.reason), None)]


async def test_a_tier_where_one_takes_calls_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the fallback's turn only when nobody of the tier can serve."""
    scene = Scene(monkeypatch, AB, fallback="c")
    await scene.close("a", UNREACHABLE)
    guests = await scene.come_all(2)
    assert places(guests) == ["b", None]
    await guests[0].release()
    assert (guests[1].at, guests[1].passed) == ("b", [])


@both_causes
async def test_who_waits_goes_on_when_the_tier_closes(monkeypatch: pytest.MonkeyPatch, cause: Row) -> None:
    """In order, when the last target has ceased to take calls; with the first nobody loses their place."""
    scene = Scene(monkeypatch, AB, fallback="c")
    await scene.come_all(2)
    waiting = await scene.come_all(2)
    await scene.time.pass_by(0.5)
    await scene.close("a", cause)
    assert (places(waiting), scene.limiter("b").statistics().oldest_waiter_seconds) == ([None, None], 0.5)
    await scene.close("b", cause)
    assert places(waiting) == ["c", None]
    assert scene.state() == {"a": (1, 0), "b": (1, 0), "c": (1, 1)}
    assert waiting[1].passed == [("a", Unseen(cause.reason), None), ("b", Unseen(cause.reason), None)]
    await waiting[0].release()
    assert (waiting[1].at, scene.traces()) == ("c", [])


async def test_without_a_fallback_capacity_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller tries after the pause, however much room there is; when that call arrives all are admitted."""
    scene = Scene(monkeypatch, AB, settings={"a": {"instances": 9}, "b": {"instances": 9}})
    for name in AB:
        await scene.close(name, NO_CAPACITY)
    guests = await scene.come_all(4)
    assert places(guests) == [None] * 4
    scene.health("b").close()
    await scene.time.pass_by(1)
    assert places(guests) == ["a", None, None, None]
    scene.health("a").reached()
    await scene.time.settle()
    assert places(guests) == ["a"] * 4


@both_causes
async def test_one_call_tries_whatever_the_weights(monkeypatch: pytest.MonkeyPatch, cause: Row) -> None:
    """After the pause the next caller of the route, though another endpoint has room and all the weight; not two."""
    scene = Scene(monkeypatch, {"a": 1, "b": 1_000_000}, settings={"a": {"instances": 9}, "b": {"instances": 9}})
    await scene.close("a", cause)
    guests = await scene.come_all(2)
    await scene.time.pass_by(1)
    guests += await scene.come_all(2)
    assert places(guests) == ["b", "b", "a", "b"]


@pytest.mark.parametrize(
    ("causes", "row", "text"),
    [
        (
            [UNREACHABLE, UNREACHABLE],
            UNREACHABLE,
            "SageMaker cannot be reached for the endpoints a, b, call after call.",
        ),
        ([UNREACHABLE, NO_CAPACITY], NO_CAPACITY, "SageMaker had no capacity for the endpoints a, b within 5 s."),
        ([UNREACHABLE], QUEUE_TIMEOUT, "No instance of the endpoints a, b came free within 5 s."),
    ],
)
async def test_who_waits_in_vain_is_told_why(
    monkeypatch: pytest.MonkeyPatch, causes: list[Row], row: Row, text: str
) -> None:
    """By the state at the end of the time."""
    scene = Scene(monkeypatch, AB, settings={name: {"queue": {"timeout_seconds": 5}} for name in AB})
    await scene.come_all(2)
    waiting = await scene.come()
    for name, cause in zip(AB, causes, strict=False):
        await scene.close(name, cause)
    await scene.time.pass_by(5)
    assert (waiting.refusal.row, waiting.refusal.message) == (row, f"{text} {LATER}")
    assert scene.traces() == []


@pytest.mark.parametrize(("name", "targets"), [("a", "a"), ("r", "a"), ("r", "ab")])
async def test_where_all_are_ejected_everybody_tries(monkeypatch: pytest.MonkeyPatch, name: str, targets: str) -> None:
    """There is nowhere else to go, so that nobody waits for others to find out. Permits are the bound, then 503."""
    scene = Scene(monkeypatch, dict.fromkeys(targets, 1), settings={target: {"instances": 2} for target in targets})
    for target in targets:
        await scene.close(target, UNREACHABLE)
    guests = await scene.come_all(2 * len(targets), name)
    one_more = await scene.come(name)
    assert Counter(places(guests)) == dict.fromkeys(targets, 2)
    assert one_more.refusal.row is UNREACHABLE
    await guests[0].release()
    assert (await scene.come(name)).at == guests[0].at


async def test_who_waits_for_a_sole_endpoint_hears_that_it_is_ejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not after a pause: as many try as may, and they are refused as those would be who tried."""
    scene = Scene(monkeypatch, {"a": 1})
    (running,) = await scene.come_all(1)
    waiting = await scene.come_all(2)
    assert running.at == "a"
    for _ in range(REFUSALS):
        scene.health("a").unreachable()
    await scene.time.settle()
    assert [guest.refusal.row for guest in waiting] == [UNREACHABLE] * 2
    assert scene.traces() == []


# An operation that takes no permit


async def test_who_needs_no_permit_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """By weight, whatever room there is, and without a queue."""
    scene = Scene(monkeypatch, {"a": 3, "b": 1}, settings=short("a", "b", most=0))
    await scene.come_all(2)
    guests = [await scene.come("r", ASYNC) for _ in range(8)]
    assert Counter(places(guests)) == {"a": 6, "b": 2}
    assert {(guest.permit, guest.admission.waited) for guest in guests} == {(None, None)}
    assert scene.state() == {"a": (1, 0), "b": (1, 0)}


async def test_who_needs_no_permit_avoids_who_is_ejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is another target; SageMaker's want of capacity is no matter where SageMaker queues."""
    scene = Scene(monkeypatch, AB)
    await scene.close("a", UNREACHABLE)
    await scene.close("b", NO_CAPACITY)
    assert {(await scene.come("r", ASYNC)).at for _ in range(4)} == {"b"}
    await scene.close("b", UNREACHABLE)
    assert {(await scene.come("r", ASYNC)).at for _ in range(4)} == {"a", "b"}


async def test_who_needs_no_permit_goes_on_as_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each endpoint once, in order; nobody waits for capacity without a permit to wait for."""
    scene = Scene(monkeypatch, AB, fallback="c")
    guest = await scene.come("r", ASYNC)
    seen = [guest.at]
    while await guest.go_on(Unseen.NO_CAPACITY):
        seen.append(guest.at)
    assert (sorted(map(str, seen)), seen[-1], guest.admission.waited) == (["a", "b", "c"], "c", None)


# Going on after a call that no model saw


async def test_each_endpoint_is_asked_once_and_then_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the other target, then the fallbacks in order; what was gone on from is told, with SageMaker's errors."""
    scene = Scene(monkeypatch, {"a": 2, "b": 1}, fallback="cd")
    guest = await scene.come()
    for reason, error, then in (
        (Unseen.THROTTLED, "ThrottlingException", "b"),
        (Unseen.UNREACHABLE, None, "c"),
        (Unseen.NO_CAPACITY, "ValidationError", "d"),
    ):
        assert await guest.go_on(reason, error)
        assert guest.at == then
    assert not await guest.go_on(Unseen.NOT_READY, "ModelNotReadyException")
    assert guest.passed == [
        ("a", Unseen.THROTTLED, "ThrottlingException"),
        ("b", Unseen.UNREACHABLE, None),
        ("c", Unseen.NO_CAPACITY, "ValidationError"),
    ]
    assert set(scene.state().values()) == {(0, 0)}


@pytest.mark.parametrize("reason", [Unseen.UNREACHABLE, Unseen.THROTTLED, Unseen.NOT_READY])
async def test_from_a_sole_endpoint_there_is_no_going_on(monkeypatch: pytest.MonkeyPatch, reason: Unseen) -> None:
    """The caller gets what there is, and nothing is told of going on."""
    scene = Scene(monkeypatch, {"a": 1})
    guest = await scene.come()
    assert not await guest.go_on(reason)
    assert guest.passed == []


async def test_who_goes_on_has_a_place_in_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were admitted once, so that the bound is not for them; their route waits for its turn."""
    scene = Scene(monkeypatch, {"a": 9, "b": 1}, settings=short("b"))
    guest, other = await scene.come_all(2)
    behind = await scene.come("b")
    assert (places([guest, other, behind]), scene.limiter("b").full("b")) == (["a", "b", None], True)
    assert await guest.go_on(Unseen.THROTTLED)
    assert (guest.task.done(), scene.state()) == (False, {"a": (0, 0), "b": (1, 2)})
    await other.release()
    assert (guest.at, behind.at) == (None, "b")
    await behind.release()
    assert guest.at == "b"


async def test_who_goes_on_keeps_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two come back from an endpoint without capacity: the one that came first tries first."""
    scene = Scene(monkeypatch, {"a": 1}, settings={"a": {"instances": 2}})
    first = await scene.come()
    await scene.time.pass_by(0.1)
    second = await scene.come()
    scene.health("a").no_capacity()
    assert await first.go_on(Unseen.NO_CAPACITY)
    assert await second.go_on(Unseen.NO_CAPACITY)
    await scene.time.pass_by(1)
    assert places([first, second]) == ["a", None]


@pytest.mark.parametrize("most", [0, 1])
async def test_where_there_is_no_queue_there_is_no_place_in_it(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """With max_waiting 0 nobody waits, whoever they are: a full endpoint is passed over for the next."""
    scene = Scene(monkeypatch, {"a": 1}, fallback="bc", settings=short("a", "b", "c", most=most))
    await scene.come("b")
    guest = await scene.come()
    assert await guest.go_on(Unseen.THROTTLED)
    assert guest.at == (None if most else "c")
    assert [name for name, _, _ in guest.passed] == (["a"] if most else ["a", "b"])


async def test_all_attempts_together_have_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting and calls count from when the caller came, and what was waited adds up; after it nobody goes on."""
    scene = Scene(
        monkeypatch, {"a": 1}, fallback="b", settings={name: {"queue": {"timeout_seconds": 10}} for name in AB}
    )
    running = await scene.come()
    guest, late = await scene.come_all(2)
    await scene.come("b")
    await scene.time.pass_by(4)
    await running.release()
    assert guest.at == "a"
    await scene.time.pass_by(3)
    assert await guest.go_on(Unseen.THROTTLED)
    assert places([guest, late]) == [None, "a"]
    await scene.time.pass_by(2.5)
    assert not guest.task.done()
    await scene.time.pass_by(0.5)
    assert (guest.refusal.row, guest.admission.waited) == (QUEUE_TIMEOUT, 7)
    assert not await late.go_on(Unseen.THROTTLED)
    assert (late.passed, scene.traces()) == ([], [])


async def test_where_nobody_has_capacity_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the head of the queue, so that who came first tries first, again after each pause, until it is there."""
    scene = Scene(monkeypatch, {"a": 1}, settings={"a": {"instances": 9}})
    first, second = await scene.come_all(2)
    for pause in (1, 2, 4):
        scene.health("a").no_capacity()
        assert await first.go_on(Unseen.NO_CAPACITY, "ValidationError")
        if pause == 1:
            await second.release()
            second = await scene.come()
        await scene.time.pass_by(pause - 0.5)
        assert (first.at, second.at) == (None, None)
        await scene.time.pass_by(0.5)
        assert (first.at, second.at) == ("a", None)
    scene.health("a").reached()
    await scene.time.settle()
    assert second.at == "a"
    assert first.passed == [("a", Unseen.NO_CAPACITY, "ValidationError")] * 3


async def test_waiting_for_capacity_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of the queue, counted from when the caller came; the refusal says what was missing."""
    scene = Scene(monkeypatch, {"a": 1}, settings={"a": {"queue": {"timeout_seconds": 5}}})
    guest = await scene.come()
    scene.health("a").no_capacity()
    assert await guest.go_on(Unseen.NO_CAPACITY)
    await scene.time.pass_by(1)
    scene.health("a").no_capacity()
    assert await guest.go_on(Unseen.NO_CAPACITY)
    await scene.time.pass_by(2)
    scene.health("a").no_capacity()
    assert await guest.go_on(Unseen.NO_CAPACITY)
    await scene.time.pass_by(2)
    assert guest.refusal.row is NO_CAPACITY
    assert guest.refusal.message == f"SageMaker had no capacity for endpoint a within 5 s. {LATER}"
    assert (guest.admission.waited, scene.traces(), scene.state()) == (5, [], {"a": (0, 0)})


async def test_capacity_is_not_waited_for_where_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback is asked at once; from the last of them there is only waiting."""
    scene = Scene(monkeypatch, {"a": 1}, fallback="b")
    guest = await scene.come()
    scene.health("a").no_capacity()
    assert await guest.go_on(Unseen.NO_CAPACITY)
    assert guest.at == "b"
    scene.health("b").no_capacity()
    assert await guest.go_on(Unseen.NO_CAPACITY)
    assert (places([guest]), scene.state()) == ([None], {"a": (0, 0), "b": (0, 1)})
    await scene.time.pass_by(1)
    assert places([guest]) == ["b"]
