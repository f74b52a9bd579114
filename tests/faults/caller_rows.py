"""Rows 13 to 18 and 31 to 37: callers who leave, wait or are too many, and a gateway that changes or ends."""

from tests.faults import acts, expired, far_end, overload, shutdown, worlds
from tests.faults.row import NOTHING, Holds, Outcome, Reply, Row
from tests.faults.sagemaker_rows import BROKEN, SERVED, served
from tests.faults.stage import on_stage
from tests.raw import serve_held

TOO_MANY = Reply(429, "ThrottlingException", "connection_limit_reached", retry_after=True)
DRAINING = Reply(503, "ServiceUnavailable", "destination_unavailable", retry_after=True)
HUNG_UP = "requests 499"

LEAVING = (
    Row(
        number=13,
        scenario="credentials expire with 200 callers; one whose call met it hangs up",
        far_end=(expired.refuses_when_told,),
        endpoint={"instances": expired.RUNNING},
        callers=expired.issued(expired.wait_for_other_keys, "KEY{number}", seconds=0.3),
        permit=Holds.NEVER_TAKEN,
        expected=Outcome(
            replies={SERVED: 199},
            counted={"requests 200": 199, HUNG_UP: 1, "upstream_errors ExpiredTokenException": 1},
            permits="3 running, 1 orphaned, 197 waiting",
            released=200,
            runs=3 + 199,
            promises={"one refresh": True},
        ),
    ),
    Row(
        number=14,
        scenario="caller gone while waiting",
        far_end=(serve_held,),
        callers=on_stage(acts.leaves_the_queue),
        permit=Holds.NEVER_TAKEN,
        expected=Outcome(
            replies={SERVED: 3},
            counted={"requests 200": 3, HUNG_UP: 1},
            permits="1 running, 2 waiting",
            released=3,
            runs=3,
            promises={"the others in order, the one who left never": True},
        ),
    ),
    Row(
        number=15,
        scenario="cancelled in the very turn of the grant",
        far_end=(far_end.rejects_held,),
        callers=on_stage(acts.leaves_as_it_is_granted),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={Reply(400, body=b"no"): 3 * acts.SCHEDULES},
            counted={"requests 400": 3 * acts.SCHEDULES, HUNG_UP: acts.SCHEDULES},
            chance=frozenset({"upstream_errors _other"}),
            following=400,
            released=None,
            runs=None,
            promises={"one call at a time": True, "it came to that in some schedules": True},
        ),
    ),
    Row(
        number=15,
        scenario="cancelled in the very turn of the grant, which is that of a model's answer",
        far_end=(serve_held,),
        callers=on_stage(acts.leaves_as_it_is_sent),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={SERVED: 3 * acts.SCHEDULES},
            counted={"requests 200": 3 * acts.SCHEDULES, HUNG_UP: acts.SCHEDULES},
            released=None,
            runs=None,
            promises={"one call at a time": True, "no permit comes to who has left": True},
        ),
    ),
    Row(
        number=16,
        scenario="caller gone while its call runs (8 hang-ups, capacity 1)",
        far_end=(serve_held,),
        callers=on_stage(acts.hang_up_while_they_run),
        permit=Holds.HELD,
        expected=Outcome(
            replies={},
            counted={HUNG_UP: 8},
            permits="1 running, 1 orphaned",
            released=8,
            runs=8,
            promises={"peak at the endpoint: 1": True},
        ),
    ),
    Row(
        number=17,
        scenario="caller gone in mid-stream",
        far_end=(far_end.streams_held,),
        callers=on_stage(acts.hangs_up_in_the_stream),
        permit=Holds.HELD,
        expected=Outcome(
            replies={SERVED: 1},
            counted={"requests 200": 1, HUNG_UP: 1},
            permits="1 running, 1 orphaned, 1 waiting",
            released=2,
            runs=2,
            promises={"read to its end, on a connection that served the next": True},
        ),
    ),
    Row(
        number=18,
        scenario="caller stops reading, buffered",
        far_end=(far_end.answers_largely,),
        callers=on_stage(acts.reads_late),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={SERVED: 1, Reply(200, body=b"24000000 bytes"): 1},
            counted={"requests 200": 2},
            permits=NOTHING,
            released=2,
            runs=2,
        ),
    ),
    Row(
        number=18,
        scenario="caller stops reading, stream",
        world=worlds.impatient_with_readers,
        far_end=(far_end.streams_long,),
        callers=on_stage(acts.never_reads),
        permit=Holds.HELD,
        expected=Outcome(
            replies={},
            counted={HUNG_UP: 1},
            permits="1 running, 1 orphaned",
            promises={"held back meanwhile": True, "then read to its end": True},
        ),
    ),
)

OVERLOAD = Row(
    number=31,
    scenario="10 times overload, in a short form",
    callers=overload.overload,
    permit=Holds.ALL_BUSY,
    expected=Outcome(
        replies={},
        counted={},
        released=None,
        runs=None,
        promises={
            "200 or 429 with Retry-After, nothing else": True,
            "never over capacity": True,
            "queue within its bound": True,
            "goodput at least 95 %": True,
            "refusals p99 under 10 ms": True,
            "memory flat": True,
            "every call counted once": True,
        },
    ),
)

WAITING = (
    Row(
        number=32,
        scenario="queue full",
        far_end=(serve_held,),
        endpoint={"queue": {"max_waiting": 1}},
        callers=on_stage(acts.finds_the_queue_full),
        permit=Holds.NEVER_TAKEN,
        expected=Outcome(
            replies={TOO_MANY: 1, SERVED: 2},
            counted={"requests 429": 1, "refusals queue_full": 1, "requests 200": 2},
            permits="1 running, 1 waiting",
            released=2,
            runs=2,
        ),
    ),
    Row(
        number=32,
        scenario="waited too long",
        far_end=(serve_held,),
        endpoint={"queue": {"timeout_seconds": 0.1}},
        callers=on_stage(acts.waits_too_long),
        permit=Holds.NEVER_TAKEN,
        expected=Outcome(
            replies={TOO_MANY: 1, SERVED: 1},
            counted={"requests 429": 1, "refusals queue_timeout": 1, "requests 200": 1},
            permits="1 running",
            promises={"refused while the first still ran": True},
        ),
    ),
)

RESIZED = Row(
    number=35,
    scenario="capacity 4, 1, 2 with 4 running",
    far_end=(serve_held,),
    callers=acts.resize,
    permit=Holds.KEPT,
    expected=served(
        7,
        {"nobody admitted until it fits": True, "the next one as soon as there is room": True},
        permits="1 running, 3 waiting",
    ),
)

ENDED = {"/readyz says 503 at once": True, "exit 0": True, "no traceback": True}
UNDER_WAY = "20 running, 180 waiting"
CUT_OFF = Outcome(
    replies={BROKEN: 20, DRAINING: 181},
    counted={"requests 424": 20, "refusals broken": 20, "requests 503": 181, "refusals draining": 181},
    permits=UNDER_WAY,
    released=None,
    runs=20,
    promises=ENDED,
    following=None,
)

ENDING = (
    Row(
        number=36,
        scenario="SIGTERM in the middle of 200 calls; one more comes within drain.delay_seconds",
        far_end=(serve_held,),
        config={"drain": {"delay_seconds": 1}},
        callers=shutdown.told_to_end(shutdown.within_the_delay),
        permit=Holds.HELD,
        expected=Outcome(
            replies={SERVED: 201},
            counted={"requests 200": 201},
            permits=UNDER_WAY,
            released=None,
            runs=201,
            promises=ENDED,
            following=None,
        ),
    ),
    Row(
        number=36,
        scenario="SIGTERM, and models that do not answer before the deadline; one more comes after it",
        far_end=(serve_held,),
        config={"drain": {"timeout_seconds": 0.5}},
        callers=shutdown.told_to_end(shutdown.beyond_the_deadline),
        permit=Holds.HELD,
        expected=CUT_OFF,
    ),
    Row(
        number=36,
        scenario="SIGTERM twice: the second signal forces",
        far_end=(serve_held,),
        callers=shutdown.told_to_end(shutdown.signalled_again),
        permit=Holds.HELD,
        expected=CUT_OFF,
    ),
)

SCRAPED = Row(
    number=37,
    scenario="/metrics scraped in a flood",
    far_end=(serve_held,),
    callers=overload.scrape,
    permit=Holds.NEVER_TAKEN,
    expected=Outcome(
        replies={},
        counted={},
        released=None,
        runs=None,
        promises={"/metrics and /readyz answered within 200 ms": True, "every call counted once": True},
    ),
)

ROWS = (*LEAVING, OVERLOAD, *WAITING, RESIZED, *ENDING, SCRAPED)
