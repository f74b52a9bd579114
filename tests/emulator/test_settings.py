"""The settings: their defaults, and all mistakes of a file in one go."""

from pathlib import Path

import pytest

from gateway.emulator import EmulatorSettings, SettingsError, load_settings

GOOD = """
listen: {host: 127.0.0.1, port: 9001}
region: ap-northeast-1
account_id: "210987654321"
clock_skew_seconds: 60
credentials:
  - {access_key_id: AKIAEMULATOR, secret_access_key: emulator-secret}
  - {access_key_id: ASIA, secret_access_key: s, session_token: t}
endpoints:
  seed:
    instances: 2
    routing: RANDOM
    timeout_seconds: 60
    model: {seconds: 5}
  own:
    command: [serve, --fast]
    environment: {A: b}
  far: {url: "http://127.0.0.1:8080"}
"""
BAD = """
listen: {host: 127.0.0.1, prot: 9001}
account_id: 123456789012
credentials: [{access_key: a, secret_access_key: b}]
endpoints:
  seed: {intances: 2, timeout_seconds: 0, routing: FAIR, model: {second: 5}}
  two: {command: [serve], url: "http://x"}
  far: {url: "127.0.0.1:8080"}
  "not a name": {}
  envy: {environment: {A: b}}
  text: 5
"""


def test_a_good_file_is_read_with_defaults(tmp_path: Path) -> None:
    """Every key of the documentation is known, and what is left out has its documented default."""
    path = tmp_path / "emulator.yaml"
    path.write_text(GOOD, encoding="utf-8")
    settings = load_settings(path)
    assert (settings.listen.port, settings.account_id, settings.verify_signatures) == (9001, "210987654321", True)
    assert [pair.session_token for pair in settings.credentials] == [None, "t"]
    seed = settings.endpoints["seed"]
    assert (seed.instances, seed.concurrency_per_instance, seed.routing, seed.timeout_seconds) == (2, 1, "RANDOM", 60)
    assert settings.endpoints["own"].command == ("serve", "--fast")
    assert (seed.stream_timeout_seconds, seed.framing, seed.describe_throttled) == (480, "as_it_comes", False)
    assert (seed.max_body_bytes, seed.throttle_above, seed.startup_seconds) == (26_214_400, None, 240)


def test_the_least_settings_are_one_name() -> None:
    """An endpoint needs only a name; the key pair and the model of the seed experiment come by themselves."""
    settings = EmulatorSettings.model_validate({"endpoints": {"seed": {}}})
    assert (settings.credentials[0].access_key_id, settings.listen.port) == ("AKIAEMULATOR", 9000)
    assert "emulator-secret" not in repr(settings)


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    """Unknown keys with the nearest valid one, wrong values with what was wanted; and no traceback of a library."""
    path = tmp_path / "emulator.yaml"
    path.write_text(BAD, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path} has 12 mistakes:"
    assert [line.strip().partition(": ")[0] for line in lines] == [
        "listen.prot",
        "account_id",
        "credentials.0.access_key",
        "endpoints.seed.routing",
        "endpoints.seed.timeout_seconds",
        "endpoints.seed.model.second",
        "endpoints.seed.intances",
        "endpoints.two",
        "endpoints.far.url",
        "endpoints.not a name",
        "endpoints.envy",
        "endpoints.text",
    ]
    told = dict(line.strip().split(": ", 1) for line in lines)
    assert told["listen.prot"] == "unknown key, wanted one of host, port (did you mean port?)"
    assert told["credentials.0.access_key"].endswith("(did you mean access_key_id?)")
    assert told["endpoints.seed.intances"].endswith("(did you mean instances?)")
    assert told["endpoints.seed.model.second"] == "unknown key, wanted one of seconds, echo (did you mean seconds?)"
    assert told["account_id"] == "found 123456789012 (int), wanted a valid string"
    assert told["endpoints.seed.timeout_seconds"] == "found 0 (int), wanted greater than 0"
    assert told["endpoints.far.url"] == "found '127.0.0.1:8080' (str), wanted a URL like http://127.0.0.1:8080"
    assert "exactly one of model, command and url" in told["endpoints.two"]
    assert "wanted a mapping" in told["endpoints.text"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "must hold a mapping with the key `endpoints`, found nothing"),
        ("- a", "must hold a mapping"),
        ("a: [", "is not YAML: "),
        ("region: eu-west-1", "endpoints: missing, wanted a mapping of endpoint names"),
        ("endpoints: {}", "endpoints: found {} (dict), wanted "),
    ],
)
def test_a_file_that_is_no_settings_file_is_told_plainly(tmp_path: Path, content: str, text: str) -> None:
    """Empty, not a mapping, not YAML, without endpoints: each is said in a line."""
    path = tmp_path / "emulator.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert text in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_plainly(tmp_path: Path) -> None:
    """A missing file and one that is not text are mistakes like others."""
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*: No such file"):
        load_settings(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8 text: byte 0"):
        load_settings(path)
