"""The router: an exact look-up, nothing that a caller writes leads anywhere else, and headers only rule out."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config import Config
from gateway.errors import BAD_METHOD, BAD_REQUEST, UNKNOWN_ROUTE, Refusal, Row
from gateway.models import Operation
from gateway.router import Match, Router, Tier

INVOKE = Operation("InvokeEndpoint", "invocations", {}, frozenset())
ASYNC = Operation("InvokeEndpointAsync", "async-invocations", {}, frozenset(), takes_permit=False, max_body_bytes=500)


def router_of(endpoints: dict[str, Any], routes: dict[str, Any]) -> Router:
    """A router of these endpoints and routes."""
    tree = {
        "aws": {"region": "eu-west-1"},
        "endpoints": {name: {"instances": 1, **settings} for name, settings in endpoints.items()},
        "routes": routes,
    }
    return Router(Config.model_validate(tree), (INVOKE, ASYNC), INVOKE)


def plain(names: str) -> dict[str, Any]:
    """Endpoints without any settings, one for each letter."""
    return {name: {} for name in names}


def targets(**weights: int) -> list[dict[str, Any]]:
    """Targets of a route, by weight."""
    return [{"endpoint": endpoint, "weight": weight} for endpoint, weight in weights.items()]


def match_of(route: str, operation: Operation, *tiers: Tier, max_body_bytes: int = 1000) -> Match:
    """A match of endpoints that fix nothing."""
    endpoints = tuple(endpoint for tier in tiers for endpoint in tier)
    limit = min(max_body_bytes, operation.max_body_bytes)
    return Match(route, operation, tiers, endpoints, settled=len(endpoints) == 1, max_body_bytes=limit)


ROUTER = router_of(
    {name: {"max_body_bytes": 1000} for name in ("small", "large", "spare")},
    {
        "classify": {"path": "/v1/classify", "targets": targets(large=3, small=1), "fallback": ["spare"]},
        "nameless": {"targets": targets(small=1)},
        "small": {"path": "/small", "targets": targets(large=1)},
    },
)
CLASSIFY: tuple[Tier, ...] = ({"large": 3, "small": 1}, {"spare": 1})

DIRECT = {
    "/endpoints/large/invocations": match_of("large", INVOKE, {"large": 1}),
    "/endpoints/large/async-invocations": match_of("large", ASYNC, {"large": 1}),
    "/endpoints/spare/invocations": match_of("spare", INVOKE, {"spare": 1}),
    "/endpoints/spare/async-invocations": match_of("spare", ASYNC, {"spare": 1}),
    "/endpoints/classify/invocations": match_of("classify", INVOKE, *CLASSIFY),
    "/endpoints/classify/async-invocations": match_of("classify", ASYNC, *CLASSIFY),
    "/endpoints/nameless/invocations": match_of("nameless", INVOKE, {"small": 1}),
    "/endpoints/nameless/async-invocations": match_of("nameless", ASYNC, {"small": 1}),
    "/endpoints/small/invocations": match_of("small", INVOKE, {"large": 1}),
    "/endpoints/small/async-invocations": match_of("small", ASYNC, {"large": 1}),
    "/v1/classify": match_of("classify", INVOKE, *CLASSIFY),
    "/small": match_of("small", INVOKE, {"large": 1}),
}


def test_every_path_of_the_config_leads_where_it_says() -> None:
    """Routes and endpoints by name, routes by their path, and a route goes before an endpoint of the same name."""
    assert {path: ROUTER.match(path) for path in DIRECT} == DIRECT


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "/endpoints",
        "/endpoints/large",
        "/endpoints/large/",
        "/endpoints//invocations",
        "/endpoints/large/invocations/",
        "/endpoints/large//invocations",
        "/endpoints/large/Invocations",
        "/endpoints/LARGE/invocations",
        "/endpoints/small/../large/invocations",
        "/endpoints/%6carge/invocations",
        "/endpoints/large%2Finvocations",
        "/endpoints/large/invocations%0d%0a",
        "/endpoints/large/invocations?x",
        "/endpoints/large/invocations;x",
        "/endpoints/nobody/invocations",
        "/v1/classify/",
        "/v1/../v1/classify",
        "/nameless",
        "http://gateway/v1/classify",
    ],
)
def test_what_merely_looks_like_a_path_leads_nowhere(path: str) -> None:
    """No case, no slash, no escape and no dot segment is forgiven: the path is compared, never taken apart."""
    assert ROUTER.match(path) is None


PIECES = st.sampled_from(
    ["/", "endpoints", "small", "large", "classify", "invocations", "v1", "..", ".", "%2f", "?", "#", "\x00", "é"]
)


@given(
    path=st.one_of(
        st.text(),
        st.lists(PIECES, max_size=9).map("".join),
        st.sampled_from(sorted(DIRECT)).map(quote),
        st.sampled_from(sorted(DIRECT)).map(lambda path: quote(path, safe="")),
        st.tuples(st.sampled_from(sorted(DIRECT)), st.text(min_size=1)).map("".join),
    )
)
@example(path="/endpoints/%73mall/invocations")
def test_no_other_path_ever_matches(path: str) -> None:
    """Of all strings there are, only those of the config lead anywhere, and they lead there undecoded."""
    assert ROUTER.match(path) == DIRECT.get(path)
    if path != unquote(path):
        assert ROUTER.match(path) is None


# Who may serve


def found(router: Router, path: str = "/endpoints/r/invocations") -> Match:
    """Where a path leads that leads somewhere."""
    match = router.match(path)
    assert match is not None
    return match


def test_a_target_without_weight_gets_no_calls() -> None:
    """It is as if it were not there, also where it stands first."""
    router = router_of(plain("abc"), {"r": {"targets": targets(a=0, b=2, c=1)}})
    assert (found(router).tiers, found(router).endpoints) == (({"b": 2, "c": 1},), ("b", "c"))


def test_each_fallback_is_asked_by_itself_in_order() -> None:
    """Behind all targets, in the order of the config, whatever their names."""
    router = router_of(plain("abcd"), {"r": {"targets": targets(b=1, d=1), "fallback": ["c", "a"]}})
    assert found(router).tiers == ({"b": 1, "d": 1}, {"c": 1}, {"a": 1})
    assert found(router).endpoints == ("b", "d", "c", "a")


def test_an_endpoint_called_directly_is_the_only_one() -> None:
    """Whatever routes lead to it, and with which weights and fallbacks."""
    router = router_of(plain("ab"), {"r": {"targets": targets(a=7), "fallback": ["b"]}})
    match = found(router, "/endpoints/a/invocations")
    assert (match.route, match.tiers, match.endpoints) == ("a", ({"a": 1},), ("a",))


@pytest.mark.parametrize(
    ("endpoints", "route", "settled"),
    [
        ({"a": {}}, {"targets": targets(a=1)}, True),
        ({"a": {}, "b": {}}, {"targets": targets(a=1, b=0)}, True),
        ({"a": {}, "b": {}}, {"targets": targets(a=1, b=1)}, False),
        ({"a": {}, "b": {}}, {"targets": targets(a=1), "fallback": ["b"]}, False),
        ({"a": {"target_variant": "v"}}, {"targets": targets(a=1)}, False),
        ({"a": {"inference_component": "c"}}, {"targets": targets(a=1)}, False),
    ],
)
def test_settled_is_what_no_header_can_change(
    endpoints: dict[str, Any], route: dict[str, Any], *, settled: bool
) -> None:
    """One endpoint whose settings fix nothing; then nobody has to look at headers."""
    router = router_of(endpoints, {"r": route})
    match = found(router)
    assert match.settled == settled
    assert not settled or router.narrow(match, [SESSION, VARIANT, COMPONENT]) is match


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/endpoints/r/invocations", 300),
        ("/endpoints/a/invocations", 2000),
        ("/endpoints/b/invocations", 700),
        ("/endpoints/a/async-invocations", 500),
        ("/endpoints/r/async-invocations", 300),
    ],
)
def test_a_body_has_to_fit_wherever_the_call_may_go(path: str, limit: int) -> None:
    """The least limit of all endpoints, fallbacks included, and of the operation."""
    router = router_of(
        {"a": {"max_body_bytes": 2000}, "b": {"max_body_bytes": 700}, "c": {"max_body_bytes": 300}},
        {"r": {"targets": targets(a=1, b=1), "fallback": ["c"]}},
    )
    assert found(router, path).max_body_bytes == limit


# What headers rule out

SESSION = ("X-Amzn-SageMaker-Session-Id", "s-1")
VARIANT = ("X-Amzn-SageMaker-Target-Variant", "blue")
COMPONENT = ("X-Amzn-SageMaker-Inference-Component", "llama")
PLAIN = ("Content-Type", "text/csv")

FIXING = router_of(
    {
        "blue": {"target_variant": "blue", "max_body_bytes": 900},
        "green": {"target_variant": "green", "max_body_bytes": 100},
        "free": {"max_body_bytes": 500},
    },
    {
        "r": {"targets": targets(green=1, blue=4), "fallback": ["free"]},
        "fixed": {"targets": targets(green=1, blue=4)},
        "one": {"targets": targets(blue=1)},
    },
)


@pytest.mark.parametrize("headers", [[], [PLAIN], [COMPONENT], [("x-amzn-sagemaker-inference-id", "green")]])
def test_headers_that_no_setting_fixes_rule_nothing_out(headers: Sequence[tuple[str, str]]) -> None:
    """All that the path leads to is left."""
    for path in ("/endpoints/r/invocations", "/endpoints/fixed/invocations", "/endpoints/blue/invocations"):
        match = found(FIXING, path)
        assert FIXING.narrow(match, headers) == match


@pytest.mark.parametrize("name", [VARIANT[0], VARIANT[0].lower(), VARIANT[0].upper()])
@pytest.mark.parametrize(
    ("value", "tiers", "limit"),
    [
        ("blue", ({"blue": 4}, {"free": 1}), 500),
        ("green", ({"green": 1}, {"free": 1}), 100),
        ("Blue", ({"free": 1},), 500),
        ("red", ({"free": 1},), 500),
    ],
)
def test_who_asks_for_something_else_does_not_get_it(
    name: str, value: str, tiers: tuple[Tier, ...], limit: int
) -> None:
    """An endpoint that always has another value is ruled out, one that has the same or none is kept, with its weight.

    Names are compared as HTTP does, values exactly; a tier with nobody left is none.
    """
    left = FIXING.narrow(found(FIXING), [PLAIN, (name, value)])
    assert (left.tiers, left.endpoints, left.max_body_bytes) == (tiers, tuple(e for tier in tiers for e in tier), limit)
    assert (left.route, left.operation) == ("r", INVOKE)


@pytest.mark.parametrize("path", ["/endpoints/one/invocations", "/endpoints/blue/invocations"])
def test_a_single_endpoint_keeps_who_agrees(path: str) -> None:
    """Asking for what is always so changes nothing."""
    match = found(FIXING, path)
    assert FIXING.narrow(match, [VARIANT]) == match


@pytest.mark.parametrize(
    ("path", "endpoint", "value"),
    [
        ("/endpoints/fixed/invocations", "green", "green"),
        ("/endpoints/one/invocations", "blue", "blue"),
        ("/endpoints/blue/invocations", "blue", "blue"),
    ],
)
def test_who_contradicts_all_settings_is_told_so(path: str, endpoint: str, value: str) -> None:
    """A 400 that names the endpoint, the header, both values and what to do; nothing is sent."""
    with pytest.raises(Refusal) as refused:
        FIXING.narrow(found(FIXING, path), [(VARIANT[0].lower(), "red")])
    assert refused.value.row is BAD_REQUEST
    assert refused.value.message == (
        f"Endpoint {endpoint} of the gateway's config always has X-Amzn-SageMaker-Target-Variant: {value}, not red. "
        "Leave the header out, or ask another route."
    )


def test_each_of_several_fixed_headers_has_to_agree() -> None:
    """An endpoint with a component and a variant is no place for who agrees with one of them only."""
    router = router_of({"a": {"inference_component": "llama", "target_variant": "green"}, "b": {}}, {})
    match = found(router, "/endpoints/a/invocations")
    assert router.narrow(match, [COMPONENT]) == match
    with pytest.raises(Refusal, match="Target-Variant: green, not blue"):
        router.narrow(match, [COMPONENT, VARIANT])


@pytest.mark.parametrize("session", ["NEW_SESSION", "s-1", "s-2"])
@pytest.mark.parametrize("name", [SESSION[0], SESSION[0].lower()])
def test_a_session_goes_to_one_endpoint(session: str, name: str) -> None:
    """The first of the route, though another has more weight: always the same, for opening, using and closing it."""
    router = router_of(
        {"a": {"max_body_bytes": 900}, "b": {"max_body_bytes": 100}, "c": {"max_body_bytes": 50}},
        {"r": {"targets": targets(a=1, b=1_000_000), "fallback": ["c"]}},
    )
    for _ in range(3):
        assert router.narrow(found(router), [PLAIN, (name, session)]) == match_of(
            "r", INVOKE, {"a": 1}, max_body_bytes=900
        )


def test_a_session_goes_to_the_same_endpoint_whatever_its_other_headers() -> None:
    """One call of it may name a variant and the next may not; what that endpoint cannot serve is refused."""
    assert FIXING.narrow(found(FIXING), [SESSION]).tiers == ({"green": 1},)
    assert FIXING.narrow(found(FIXING), [SESSION, (VARIANT[0], "green")]).tiers == ({"green": 1},)
    for path in ("/endpoints/r/invocations", "/endpoints/fixed/invocations"):
        with pytest.raises(Refusal):
            FIXING.narrow(
                found(FIXING, path), [SESSION, VARIANT if path.startswith("/endpoints/r/") else (VARIANT[0], "red")]
            )


@pytest.mark.parametrize(
    ("method", "path", "row"),
    [("POST", "/nowhere", UNKNOWN_ROUTE), ("GET", "/nowhere", UNKNOWN_ROUTE), ("GET", "/v1/classify", BAD_METHOD)],
)
def test_a_request_that_leads_nowhere_is_refused(method: str, path: str, row: Row) -> None:
    """By its path first: where there is nothing, no method helps."""
    with pytest.raises(Refusal) as caught:
        ROUTER.find(method, path)
    assert caught.value.row is row
    assert ROUTER.find("POST", "/v1/classify") == ROUTER.match("/v1/classify")
