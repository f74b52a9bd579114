"""Listening beyond this machine: only with keys, or where the config says so."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import Config, ConfigError, load, notes
from gateway.config.rules import is_loopback

REST = {"aws": {"region": "eu-west-1"}, "endpoints": {"a": {"instances": 1}}}


def config(**groups: Any) -> Config:
    """A config with these groups."""
    return Config.model_validate({**REST, **groups})


def refused(text: str, folder: Path) -> str:
    """What is wrong with a config file that begins so."""
    path = folder / "config.yaml"
    path.write_text(f"{text}\naws: {{region: eu-west-1}}\nendpoints: {{a: {{instances: 1}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).removeprefix(f"{path}:")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "LOCALHOST"])
def test_this_machine_may_always_call(host: str) -> None:
    """On a loopback address nobody else comes."""
    assert is_loopback(host)
    assert config(listen={"host": host}).listen.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "gateway", "localhost.example.com"])
def test_an_open_listener_is_refused(host: str, tmp_path: Path) -> None:
    """Anywhere else, and under any name but localhost; the refusal says both ways out."""
    told = refused(f"listen: {{host: '{host}'}}", tmp_path)

    assert told.startswith(f"1:10 listen.host: found '{host}', wanted an address of this machine only")
    assert "set listen.keys_file, or listen.open: true" in told


@pytest.mark.parametrize("more", [{"open": True}, {"keys_file": "keys.yaml"}])
def test_there_are_two_ways_out(more: dict[str, Any]) -> None:
    """Keys, or to say that it is meant so."""
    assert config(listen={"host": "0.0.0.0", **more}).listen.host == "0.0.0.0"


def test_open_is_not_for_those_with_keys(tmp_path: Path) -> None:
    """Both together could mean two things."""
    told = refused("listen: {open: true, keys_file: keys.yaml}", tmp_path)

    assert told.startswith("1:10 listen.open: found true, wanted false beside listen.keys_file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen: {tls: {key: a}}", "1:16 listen.tls.key: found it alone, wanted listen.tls.certificate beside it"),
        ("listen: {tls: {certificate: a}}", "1:16 listen.tls.certificate: found it alone, wanted listen.tls.key"),
        ("admin: {host: 127.0.0.1}", "1:9 admin.host: found it alone, wanted admin.port beside it"),
        ("admin: {port: 8080}", "1:9 admin.port: found 8080, wanted another one than listen.port"),
        ("admin: {port: 65536}", "1:9 admin.port: found 65536, wanted a whole number from 0 to 65535"),
        ("listen: {keys_file: ''}", "1:10 listen.keys_file: found '', wanted text"),
        ("listen: {open: yes}", "1:10 listen.open: found 'yes'"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """A certificate without a key, an address without a port, one port for two."""
    assert refused(text, tmp_path).startswith(says)


@pytest.mark.parametrize("admin", [{"port": 0}, {"port": 8081}, {"host": "10.0.0.1", "port": 8080}])
def test_operators_may_have_an_address_of_their_own(admin: dict[str, Any]) -> None:
    """Another port, or the same one elsewhere."""
    assert config(admin=admin, listen={"host": "127.0.0.1"}).admin.port == admin["port"]


def test_paths_are_those_that_the_config_means(tmp_path: Path) -> None:
    """Relative to the file that they stand in, wherever the gateway is started; absolute ones as they are."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "listen: {keys_file: a/keys.yaml, tls: {certificate: /b.crt, key: b.key}}\n"
        "aws: {region: eu-west-1}\nendpoints: {a: {instances: 1}}\n"
    )
    listen = load(path).listen

    assert listen.keys_file == str(tmp_path / "a/keys.yaml")
    assert (listen.tls.certificate, listen.tls.key) == ("/b.crt", str(tmp_path / "b.key"))
    assert config(listen={"keys_file": "keys.yaml"}).listen.keys_file == "keys.yaml"


def test_what_strangers_could_read_is_noted() -> None:
    """Open doors, clear text, and metrics for everybody; nothing of it on this machine."""
    opened = notes(config(listen={"host": "0.0.0.0", "open": True}))
    keyed = notes(config(listen={"host": "0.0.0.0", "keys_file": "k"}))
    tls = {"certificate": "a", "key": "b"}
    closed = notes(config(listen={"host": "0.0.0.0", "keys_file": "k", "tls": tls}, admin={"port": 1}))

    assert [note.partition(":")[0] for note in opened] == ["listen.open"]
    assert [note.partition(":")[0] for note in keyed] == ["listen.tls", "admin.port"]
    assert (closed, notes(config(listen={"keys_file": "k"}))) == ((), ())


def test_the_rules_hold_in_python_too() -> None:
    """A program cannot open the gateway by accident either."""
    with pytest.raises(ValidationError):
        config(listen={"host": "0.0.0.0"})
