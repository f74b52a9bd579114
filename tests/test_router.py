"""The router: an exact look-up, and nothing that a caller writes leads anywhere else."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config import Config
from gateway.models import Operation
from gateway.router import Match, Router

INVOKE = Operation("InvokeEndpoint", "invocations", {}, frozenset())
ASYNC = Operation("InvokeEndpointAsync", "async-invocations", {}, frozenset())

CONFIG = Config.model_validate(
    {
        "aws": {"region": "eu-west-1"},
        "endpoints": {"small": {"instances": 1}, "large": {"instances": 2}},
        "routes": {
            "classify": {"path": "/v1/classify", "targets": [{"endpoint": "large"}, {"endpoint": "small"}]},
            "nameless": {"targets": [{"endpoint": "small"}]},
            "small": {"path": "/small", "targets": [{"endpoint": "large"}]},
        },
    }
)
ROUTER = Router(CONFIG, (INVOKE, ASYNC), INVOKE)

DIRECT = {
    "/endpoints/large/invocations": Match("large", INVOKE, ("large",)),
    "/endpoints/large/async-invocations": Match("large", ASYNC, ("large",)),
    "/endpoints/classify/invocations": Match("classify", INVOKE, ("large", "small")),
    "/endpoints/classify/async-invocations": Match("classify", ASYNC, ("large", "small")),
    "/endpoints/nameless/invocations": Match("nameless", INVOKE, ("small",)),
    "/endpoints/nameless/async-invocations": Match("nameless", ASYNC, ("small",)),
    "/endpoints/small/invocations": Match("small", INVOKE, ("large",)),
    "/endpoints/small/async-invocations": Match("small", ASYNC, ("large",)),
    "/v1/classify": Match("classify", INVOKE, ("large", "small")),
    "/small": Match("small", INVOKE, ("large",)),
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
