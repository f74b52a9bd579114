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
  two:
    model: {seconds: 0}
    variants:
      blue: {instances: 2, weight: 9, routing: RANDOM}
      green: {serverless: {max_concurrency: 3, memory_mb: 4096}}
  parts:
    instances: 2
    inference_components:
      llama: {copies: 0, wake_after_seconds: 1}
      own: {variant: AllTraffic, command: [serve]}
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
  model: {variants: {model: {wieght: 1}}, inference_components: {command: {copies: -1, variants: blue}}}
  many: {instances: 2, variants: {blue: {}}}
  none: {variants: {blue: {weight: 0}}}
  both: {instances: 2, serverless: {}}
  lost: {variants: {blue: {}}, inference_components: {llama: {variant: green}}}
  less: {serverless: {memory_mb: 100}, inference_components: {}}
  less-parts: {serverless: {}, inference_components: {other: {}}}
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
    assert {name: each.weight for name, each in settings.endpoints["two"].variants.items()} == {"blue": 9, "green": 1}
    assert {name: each.copies for name, each in settings.endpoints["parts"].inference_components.items()} == {
        "llama": 0,
        "own": 1,
    }


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
    assert first == f"{path} has 21 mistakes:"
    assert [line.strip().partition(": ")[0] for line in lines] == [
        "listen.prot",
        "account_id",
        "credentials.0.access_key",
        "endpoints.seed.routing",
        "endpoints.seed.model.second",
        "endpoints.seed.timeout_seconds",
        "endpoints.seed.intances",
        "endpoints.two",
        "endpoints.far.url",
        "endpoints.not a name",
        "endpoints.envy",
        "endpoints.model.variants.model.wieght",
        "endpoints.model.inference_components.command.copies",
        "endpoints.model.inference_components.command.variants",
        "endpoints.many",
        "endpoints.none",
        "endpoints.both",
        "endpoints.lost",
        "endpoints.less.serverless.memory_mb",
        "endpoints.less-parts",
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
    assert told["endpoints.model.variants.model.wieght"].endswith("(did you mean weight?)")
    assert told["endpoints.model.inference_components.command.variants"].endswith("(did you mean variant?)")
    assert told["endpoints.many"].endswith("instances or variants, not both: each variant has its own instances")
    assert "at least one variant with a weight above 0" in told["endpoints.none"]
    assert "instances or serverless, not both" in told["endpoints.both"]
    assert "one of blue as the variant of the inference component llama, not green" in told["endpoints.lost"]
    assert "components need instances" in told["endpoints.less-parts"]


def test_a_component_has_one_home(tmp_path: Path) -> None:
    """DescribeInferenceComponent knows no endpoint: a name may be at one only."""
    path = tmp_path / "emulator.yaml"
    path.write_text(
        "endpoints: {a: {inference_components: {llama: {}}}, b: {inference_components: {llama: {}}}}", encoding="utf-8"
    )
    with pytest.raises(SettingsError, match=r"the file: found .* once in the account, not llama at a and at b"):
        load_settings(path)


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
