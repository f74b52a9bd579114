"""The difference of two configs, and what of the second one can be had without a restart."""

from typing import Any

import pytest

from gateway.config import Config
from gateway.config.changes import carried, changes, clashes

ENDPOINTS: dict[str, Any] = {"a": {"instances": 1}, "b": {"instances": 1}}
TLS = {"certificate": "/tls.crt", "key": "/tls.key"}
NEW_TLS = {"certificate": "/new.crt", "key": "/tls.key"}


def config(**groups: Any) -> Config:
    """A config with some groups."""
    return Config.model_validate({"aws": {"region": "eu-west-1"}, "endpoints": ENDPOINTS, **groups})


def route(endpoint: str) -> dict[str, Any]:
    """A route to one endpoint."""
    return {"targets": [{"endpoint": endpoint}]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, {}),
        (
            {},
            {"endpoints": {"b": {"instances": 2}, "c": {"instances": 1}}},
            {"endpoints_added": ["c"], "endpoints_changed": ["b"], "endpoints_removed": ["a"]},
        ),
        (
            {"routes": {"r": route("a"), "s": route("a")}},
            {"routes": {"s": route("b"), "t": route("a")}},
            {"routes_added": ["t"], "routes_changed": ["s"], "routes_removed": ["r"]},
        ),
        ({}, {"aws": {"region": "eu-west-2"}}, {"settings_changed": ["aws.region"]}),
        ({}, {"listen": {"port": 1}, "admin": {"port": 2}}, {"needs_restart": ["listen.port", "admin.port"]}),
        ({}, {"listen": {"keys_file": "/k"}}, {"settings_changed": ["listen.keys_file"]}),
        (
            {"listen": {"tls": TLS}},
            {"listen": {"tls": NEW_TLS}},
            {"settings_changed": ["listen.tls.certificate"]},
        ),
        ({}, {"listen": {"tls": TLS}}, {"needs_restart": ["listen.tls.certificate", "listen.tls.key"]}),
    ],
)
def test_what_is_different_is_named(old: dict[str, Any], new: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """By kind, in the order of the file; what did not change is not mentioned."""
    assert changes(config(**old), config(**new)) == expected


def test_what_needs_a_restart_is_carried_over() -> None:
    """And named again the next time, because the config that holds does not have it."""
    old = config(listen={"port": 1, "tls": TLS})
    new = config(
        listen={"port": 2, "tls": NEW_TLS, "keys_file": "/k"}, log={"level": "error"}, drain={"delay_seconds": 1}
    )

    held = carried(old, new)

    assert (held.listen.port, held.log, held.drain.delay_seconds) == (1, old.log, 1)
    assert (held.listen.tls.certificate, held.listen.keys_file) == ("/new.crt", "/k")
    assert changes(held, new) == {"needs_restart": ["listen.port", "log.level"]}


@pytest.mark.parametrize(("old", "new"), [({}, {"tls": TLS}), ({"tls": TLS}, {})])
def test_tls_neither_begins_nor_ends(old: dict[str, Any], new: dict[str, Any]) -> None:
    """A listener speaks it or does not."""
    assert carried(config(listen=old), config(listen=new)).listen.tls == config(listen=old).listen.tls


def test_two_good_configs_may_make_a_bad_one() -> None:
    """The address of the one with the missing keys of the other would be open to everybody."""
    old, new = config(listen={"host": "0.0.0.0", "keys_file": "/k"}), config()

    assert [conflict.path for conflict in clashes(carried(old, new))] == [("listen", "host")]
    assert clashes(carried(old, old)) == ()
