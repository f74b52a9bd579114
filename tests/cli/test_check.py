"""`check` and `schema`: what people and scripts see."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.check import check, schema
from tests.config.bad import BAD
from tests.config.spoil import GOOD, Bad

CONFIG = Path(__file__).parents[2] / "config"
LONGEST = "e" * 63


def run_check(path: Path) -> Result:
    """`sagemaker-gateway check PATH`."""
    return CliRunner().invoke(check, [str(path)])


def check_text(tmp_path: Path, text: str) -> Result:
    """`check` on a file of this text."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return run_check(path)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_one_mistake_is_one_line(bad: Bad, tmp_path: Path) -> None:
    """Each mistake ends in exit code 2 and one line with place, key, what was found and wanted; nothing on stdout."""
    result = check_text(tmp_path, bad.text)

    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(f"{tmp_path}/config.yaml:{bad.line}:")
    assert f" {bad.key}" in lines[0]
    assert bad.says in lines[0]
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Mistakes of all kinds in one file are told together, in the order of the file."""
    text = """\
listen: {port: -1}
aws: {regoin: eu-west-1}
endpoints:
  llama:
    instances: 0
    permit: 4
  llama: {instances: 1}
routes:
  a: {path: /metrics, targets: [{endpoint: lama}]}
"""

    result = check_text(tmp_path, text)

    assert (
        result.stderr.replace(f"{tmp_path}/config.yaml:", "")
        == """\
1:10 listen.port: found -1, wanted a whole number from 0 to 65535
2:1 aws.region: found nothing, wanted an AWS region such as ap-northeast-1
2:7 aws.regoin: unknown key 'regoin', nearest valid key is 'region'
5:5 endpoints.llama.instances: found 0, wanted a whole number from 1 to 10000 or "auto"
6:5 endpoints.llama.permit: unknown key 'permit', valid keys are endpoint_name, inference_component, \
target_variant, region, profile, role_arn, endpoint_url, control_endpoint_url, instances, \
concurrency_per_instance, queue, timeout_seconds, stream_timeout_seconds, cooldown_seconds, max_body_bytes, \
max_response_bytes
7:3 endpoints.llama: found the same key again, wanted every key once; line 4 has it
9:7 routes.a.path: found '/metrics', wanted a path that the gateway does not answer itself
9:34 routes.a.targets[0].endpoint: found 'lama', wanted a key of endpoints; the nearest is 'llama'
"""
    )


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    """A file that is not there, or is none, is one line and exit code 2."""
    for path, says in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        result = run_check(path)

        assert (2, f"{path}: the file cannot be read: {says}\n") == (result.exit_code, result.stderr)


def test_a_good_config_is_explained(tmp_path: Path) -> None:
    """Routes with all of their paths, endpoints with SageMaker's name, capacity, queue and time limit; exit code 0."""
    text = GOOD.replace("instances: 2", "instances: 2\n    concurrency_per_instance: 3\n    endpoint_name: resnet-prod")

    result = check_text(tmp_path, text)

    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (0, "")
    assert "/predict route classify resnet (weight 1)" in rows
    assert "/endpoints/classify/invocations route classify resnet (weight 1)" in rows
    assert "/endpoints/resnet/invocations endpoint resnet resnet" in rows
    assert "resnet resnet-prod 2 x 3 = 6 10 30 s 70 s" in rows
    assert not [row for row in rows if row.startswith("note:")]


def test_a_proxy_of_the_environment_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs would go by it; calls do not, and whoever counts on it learns so before the first of them."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    result = check_text(tmp_path, GOOD)

    (note,) = [line for line in result.stdout.splitlines() if line.startswith("note:")]
    assert "HTTPS_PROXY" in note
    assert "proxy.example" not in note


def test_a_route_goes_before_an_endpoint_of_its_name(tmp_path: Path) -> None:
    """A path is listed once, for the route that answers it."""
    text = GOOD.replace("  classify:\n    path: /predict\n", "  resnet:\n")

    result = check_text(tmp_path, text)

    lines = [line for line in result.stdout.splitlines() if "invocations" in line]
    assert [line.split() for line in lines] == [
        ["/endpoints/resnet/invocations", "route", "resnet", "resnet", "(weight", "1)"]
    ]


def test_names_are_never_cut(tmp_path: Path) -> None:
    """The longest names and paths stand whole in a pipe."""
    path = "/" + "p" * 1000
    text = f"""\
aws: {{region: us-gov-west-1}}
endpoints: {{{LONGEST}: {{instances: 3, endpoint_name: {LONGEST[1:]}x}}, b: {{instances: 1}}}}
routes: {{{LONGEST[1:]}r: {{path: {path}, targets: [{{endpoint: {LONGEST}}}, {{endpoint: b, weight: 0}}]}}}}
"""

    result = check_text(tmp_path, text)

    words = set(result.stdout.split())
    assert result.exit_code == 0
    assert {LONGEST, f"{LONGEST[1:]}x", path, f"/endpoints/{LONGEST[1:]}r/invocations"} <= words
    assert "…" not in result.stdout


SEVERAL = """\
aws: {region: ap-northeast-1}
endpoints:
  old: {endpoint_name: resnet, target_variant: blue, instances: 2}
  new: {endpoint_name: resnet, target_variant: green, instances: auto}
  far: {instances: 1, inference_component: llama, region: eu-central-1, profile: eu, endpoint_url: "https://a.b"}
  other: {instances: 1, role_arn: "arn:aws:iam::123456789012:role/invoker"}
routes:
  classify:
    path: /predict
    targets: [{endpoint: old, weight: 9}, {endpoint: new}]
    fallback: [far, other]
"""


def test_a_route_is_shown_with_weights_and_fallbacks(tmp_path: Path) -> None:
    """In the order in which they are asked; and what is only a fallback is noted."""
    result = check_text(tmp_path, SEVERAL)

    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "/predict route classify old (weight 9), new (weight 1); fallback far, then other" in rows
    assert [row.split(":")[1] for row in rows if row.startswith("note:")] == [" endpoints.far", " endpoints.other"]


def test_an_endpoint_is_shown_with_what_is_its_own(tmp_path: Path) -> None:
    """Part, region, who signs and URL; columns that would say the same of all are not there."""
    result = check_text(tmp_path, SEVERAL)
    plain = check_text(tmp_path, GOOD)

    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    head = next(row for row in rows if row.startswith("name SageMaker's name"))
    assert head.startswith("name SageMaker's name component variant region signed by URL calls at once")
    assert "old resnet blue ap-northeast-1 the AWS chain 2 x 1 = 2 1000 30 s 70 s" in rows
    assert "new resnet green ap-northeast-1 the AWS chain auto x 1 1000 30 s 70 s" in rows
    assert "far far llama eu-central-1 profile eu https://a.b 1 x 1 = 1 1000 30 s 70 s" in rows
    assert "other other ap-northeast-1 arn:aws:iam::123456789012:role/invoker 1 x 1 = 1 1000 30 s 70 s" in rows
    assert " name     SageMaker's name   calls at once" in plain.stdout


def test_the_output_is_the_same_every_time() -> None:
    """Two runs print the same bytes, so that a diff of two configs shows the configs."""
    path = CONFIG / "example.yaml"

    assert run_check(path).stdout_bytes == run_check(path).stdout_bytes


def test_an_ipv6_address_is_a_url(tmp_path: Path) -> None:
    """The printed URL of an IPv6 address can be used as it stands."""
    result = check_text(tmp_path, GOOD.replace("127.0.0.1", "'::1'"))

    assert "http://[::1]:8080 -> SageMaker in ap-northeast-1" in result.stdout


def test_the_schema_is_the_shipped_one() -> None:
    """`sagemaker-gateway schema > config/sagemaker-gateway.schema.json` changes nothing."""
    result = CliRunner().invoke(schema)

    assert (0, (CONFIG / "sagemaker-gateway.schema.json").read_text()) == (result.exit_code, result.stdout)
