"""Rows 1 to 12: what SageMaker, or the way to it, does to a call."""

from collections.abc import Mapping

from tests.faults import acts, expired, far_end, worlds
from tests.faults.far_end import CHUNKED, STREAMED, Failure, answers, chunk, fails, whole
from tests.faults.row import NO_MORE, NOTHING, Holds, Outcome, Reply, Row
from tests.faults.stage import on_stage
from tests.issuer import refusing
from tests.parts import part
from tests.raw import Peer, Script, serve_held, serve_ok

SERVED = Reply(200, body=b"ok")
BROKEN = Reply(424, "ModelError", "http_response_incomplete", original=0)
GIVEN_UP = Reply(424, "ModelError", "http_response_timeout", original=0)
UNREACHABLE = Reply(503, "ServiceUnavailable", "destination_unavailable", retry_after=True)
KEYLESS = Reply(503, "ServiceUnavailable", "proxy_configuration_error", retry_after=True)

COOLDOWN_SECONDS = 0.1
MAX_RESPONSE_BYTES = 1000


def refused(reply: Reply, reason: str, permits: str = NOTHING) -> Outcome:
    """One caller, who gets the gateway's own answer."""
    return Outcome(
        replies={reply: 1}, counted={f"requests {reply.status}": 1, f"refusals {reason}": 1}, permits=permits
    )


def as_it_came(failure: Failure, *, permits: str = NOTHING) -> Outcome:
    """One caller, who gets SageMaker's."""
    status = int(failure.status.split()[0])
    return Outcome(
        replies={Reply(status, failure.code, body=failure.body): 1},
        counted={f"requests {status}": 1, f"upstream_errors {failure.code}": 1},
        permits=permits,
    )


def served(
    count: int = 1, promises: Mapping[str, bool] = NO_MORE, *, runs: int | None = None, permits: str = NOTHING
) -> Outcome:
    """So many callers, all of whom get an answer, after as many runs if nothing else is said."""
    return Outcome(
        replies={SERVED: count},
        counted={"requests 200": count},
        permits=permits,
        released=count,
        runs=count if runs is None else runs,
        promises=promises,
    )


TWICE = {"connections tried for: 2": True}
NOT_REACHED = Outcome(
    replies={UNREACHABLE: 1}, counted={"requests 503": 1, "refusals unreachable": 1}, runs=0, promises=TWICE
)

CONNECTING = (
    Row(
        number=1,
        scenario="SageMaker refuses the connection",
        far_end=(),
        callers=on_stage(acts.tries_to_connect(2, acts.calls_before_anybody_listens)),
        permit=Holds.RETURNED,
        expected=NOT_REACHED,
    ),
    Row(
        number=1,
        scenario="DNS fails",
        world=worlds.names_fail_times(2),
        url=f"http://{worlds.NAME}:{{port}}",
        callers=on_stage(acts.tries_to_connect(2)),
        permit=Holds.RETURNED,
        expected=NOT_REACHED,
    ),
    Row(
        number=1,
        scenario="TLS fails",
        world=worlds.trusting_us,
        url="https://127.0.0.1:{port}",
        far_end=(far_end.speaks_no_tls, far_end.speaks_no_tls, far_end.speaks_tls),
        callers=on_stage(acts.tries_to_connect(2)),
        permit=Holds.RETURNED,
        expected=NOT_REACHED,
    ),
    Row(
        number=1,
        scenario="DNS fails, but only once",
        world=worlds.names_fail_times(1),
        url=f"http://{worlds.NAME}:{{port}}",
        callers=on_stage(acts.tries_to_connect(2)),
        permit=Holds.RETURNED,
        expected=served(promises=TWICE),
    ),
)


def _broken(number: int, scenario: str, *scripts: Script, **endpoint: int) -> Row:
    """One call that is not answered whole."""
    return Row(
        number=number,
        scenario=scenario,
        far_end=(*scripts, serve_ok),
        endpoint=endpoint,
        callers=on_stage(acts.calls),
        permit=Holds.RETURNED,
        expected=refused(BROKEN, "broken"),
    )


CUT = (
    _broken(2, "reset after the request was sent, before a byte of answer", answers(then=far_end.reset)),
    _broken(2, "closed after the request was sent, before a byte of answer", answers(then=Peer.leave)),
    _broken(2, "closed after an interim answer", answers(b"HTTP/1.1 100 Continue\r\n\r\n", then=Peer.leave)),
    Row(
        number=3,
        scenario="a kept-alive connection is found dead before it took a byte of the request",
        far_end=(far_end.dies_idle, serve_held),
        callers=on_stage(acts.calls_again_later),
        permit=Holds.HELD,
        expected=served(2, {"another connection": True}, permits="1 running"),
    ),
    Row(
        number=3,
        scenario="a kept-alive connection dies once it took the request: as row 2",
        far_end=(far_end.dies_busy, serve_ok),
        callers=on_stage(acts.calls_twice),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={SERVED: 1, BROKEN: 1},
            counted={"requests 200": 1, "requests 424": 1, "refusals broken": 1},
            released=2,
            runs=2,
        ),
    ),
    _broken(7, "reset in mid-body", answers(whole(b"whole")[:-1], then=far_end.reset)),
    _broken(7, "end in mid-body", answers(whole(b"whole")[:-1], then=Peer.leave)),
    _broken(7, "reset between chunks", answers(CHUNKED, chunk(b"half"), then=far_end.reset)),
    _broken(7, "end between chunks", answers(CHUNKED, chunk(b"half"), then=Peer.leave)),
    _broken(9, "garbage", answers(b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n", then=Peer.gone)),
    _broken(9, "headers that are not UTF-8", answers(whole(b"", b"Content-Type: \xff"), then=Peer.gone)),
    _broken(
        9,
        "an answer over max_response_bytes, declared",
        answers(whole(b"x" * (MAX_RESPONSE_BYTES + 1)), then=Peer.gone),
        max_response_bytes=MAX_RESPONSE_BYTES,
    ),
    _broken(
        9,
        "an answer over max_response_bytes, in chunks",
        answers(CHUNKED, chunk(b"x" * MAX_RESPONSE_BYTES), chunk(b"x"), then=Peer.gone),
        max_response_bytes=MAX_RESPONSE_BYTES,
    ),
)

SLOW = (
    Row(
        number=4,
        scenario="the model runs over 60 s",
        far_end=(fails(far_end.OUT_OF_TIME),),
        endpoint={"cooldown_seconds": COOLDOWN_SECONDS},
        callers=on_stage(acts.calls),
        permit=Holds.COOLED,
        expected=as_it_came(far_end.OUT_OF_TIME, permits="1 cooling"),
    ),
    Row(
        number=5,
        scenario="SageMaker silent past timeout_seconds",
        far_end=(answers(then=Peer.gone), serve_ok),
        endpoint={"timeout_seconds": 0.1, "cooldown_seconds": COOLDOWN_SECONDS},
        callers=on_stage(acts.calls),
        permit=Holds.COOLED,
        expected=refused(GIVEN_UP, "timeout", permits="1 cooling"),
    ),
    Row(
        number=6,
        scenario="the answer drips for ever, buffered",
        far_end=(far_end.drips(CHUNKED, chunk(b"x")), serve_ok),
        endpoint={"timeout_seconds": 0.1},
        callers=on_stage(acts.calls),
        permit=Holds.RETURNED,
        expected=refused(GIVEN_UP, "timeout"),
    ),
    Row(
        number=6,
        scenario="its headers drip for ever",
        far_end=(far_end.drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), serve_ok),
        endpoint={"timeout_seconds": 0.1},
        callers=on_stage(acts.calls),
        permit=Holds.RETURNED,
        expected=refused(GIVEN_UP, "timeout"),
    ),
)


def _cut_stream(number: int, scenario: str, reason: str, script: Script, body: bytes, *, framed: bool) -> Row:
    """One call for a stream that does not come to its end."""
    return Row(
        number=number,
        scenario=f"{scenario}, {'in frames' if framed else 'decoded'}",
        far_end=(script, serve_ok),
        endpoint={"stream_timeout_seconds": 0.3},
        callers=on_stage(acts.streams(framed=framed)),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={Reply(200, cut=True, body=body): 1}, counted={"requests 200": 1, f"refusals {reason}": 1}
        ),
    )


FIRST = part(b"first")
STREAMS = (
    _cut_stream(
        6,
        "a stream drips for ever",
        "timeout",
        far_end.drips(STREAMED + chunk(FIRST), chunk(part(b""))),
        b"first",
        framed=False,
    ),
    *(
        _cut_stream(8, scenario, "broken", script, FIRST if framed else b"first", framed=framed)
        for scenario, script in (
            ("reset in mid-stream after the 200", far_end.resets_when_told),
            ("end in mid-stream after the 200", answers(STREAMED, chunk(FIRST), then=Peer.leave)),
        )
        for framed in (True, False)
    ),
)

OWN_ERRORS = tuple(
    Row(
        number=10 if failure is far_end.THROTTLED else 11,
        scenario=f"SageMaker answers {failure.status.decode()}, {failure.code}",
        far_end=(fails(failure),),
        callers=on_stage(acts.calls),
        permit=Holds.RETURNED,
        expected=as_it_came(failure),
    )
    for failure in (
        far_end.THROTTLED,
        Failure(b"500 Internal Server Error", "InternalFailure", b'{"Message":"internal, account 123456789012"}'),
        Failure(b"503 Service Unavailable", "ServiceUnavailable", b'{"Message":"try again"}'),
        Failure(b"530 ", "InternalDependencyException", b'{"Message":"a dependency"}'),
        Failure(b"429 Too Many Requests", "ModelNotReadyException", b'{"Message":"loading"}'),
        far_end.model_error(500, b"the model said no"),
    )
)

EXPIRED = (
    Row(
        number=12,
        scenario="expired token, and there are other keys",
        far_end=(refusing("KEY1"),),
        callers=expired.issued(expired.meets_an_expired_token, "KEY{number}"),
        permit=Holds.RETURNED,
        expected=served(runs=2, promises={"one forced refresh": True}),
    ),
    Row(
        number=12,
        scenario="expired token, and the other keys have expired too",
        far_end=(refusing("KEY1", "KEY2"),),
        callers=expired.issued(expired.meets_expired_tokens_only, "KEY{number}"),
        permit=Holds.RETURNED,
        expected=Outcome(
            replies={KEYLESS: 1},
            counted={"requests 503": 1, "refusals credentials": 1, "upstream_errors ExpiredTokenException": 1},
            runs=2,
            promises={
                "/readyz says so, and nothing of AWS's text": True,
                "one forced refresh": True,
                "/readyz says when it is over": True,
            },
        ),
    ),
)

ROWS = (*CONNECTING, *CUT, *SLOW, *STREAMS, *OWN_ERRORS, *EXPIRED)
