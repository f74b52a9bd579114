"""Hosts: where botocore's client would go, the gateway goes."""

from copy import deepcopy
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.endpoint_provider import EndpointProvider
from botocore.session import get_session

from gateway.sagemaker import rules as rules_of_aws
from gateway.sagemaker.hosts import PLAIN, HostError, HostKind, host_kind, runtime_url
from gateway.sagemaker.rules import descriptions

REGIONS = get_session().get_available_regions("sagemaker-runtime")
FIPS, DUAL_STACK, BOTH = HostKind(fips=True), HostKind(dual_stack=True), HostKind(fips=True, dual_stack=True)


@pytest.mark.parametrize("kind", [PLAIN, FIPS, DUAL_STACK, BOTH])
@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-1", "cn-north-1", "us-gov-west-1", "eu-central-2"])
def test_the_host_is_that_of_the_sdk(region: str, kind: HostKind) -> None:
    """A real client of the region, made with the same wishes, has the same base URL, in every partition."""
    session = get_session()
    session.set_credentials("AKIAEXAMPLE", "secret")
    config = Config(use_fips_endpoint=kind.fips, use_dualstack_endpoint=kind.dual_stack)
    client = session.create_client("sagemaker-runtime", region_name=region, config=config)
    assert runtime_url(region, kind) == client.meta.endpoint_url


@pytest.mark.parametrize(
    ("region", "kind", "host"),
    [
        ("ap-northeast-1", PLAIN, "runtime.sagemaker.ap-northeast-1.amazonaws.com"),
        ("us-east-1", FIPS, "runtime-fips.sagemaker.us-east-1.amazonaws.com"),
        ("us-east-1", DUAL_STACK, "runtime.sagemaker.us-east-1.api.aws"),
        ("us-east-1", BOTH, "runtime.sagemaker-fips.us-east-1.api.aws"),
        ("cn-north-1", PLAIN, "runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", FIPS, "runtime.sagemaker-fips.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", DUAL_STACK, "runtime.sagemaker.cn-north-1.api.amazonwebservices.com.cn"),
        ("cn-north-1", BOTH, "runtime.sagemaker-fips.cn-north-1.api.amazonwebservices.com.cn"),
        ("us-gov-west-1", PLAIN, "runtime.sagemaker.us-gov-west-1.amazonaws.com"),
        ("us-gov-west-1", FIPS, "runtime.sagemaker.us-gov-west-1.amazonaws.com"),
        ("us-gov-west-1", DUAL_STACK, "runtime.sagemaker.us-gov-west-1.api.aws"),
        ("us-gov-west-1", BOTH, "runtime.sagemaker-fips.us-gov-west-1.api.aws"),
    ],
)
def test_the_host_is_the_documented_one(region: str, kind: HostKind, host: str) -> None:
    """The names in AWS's documentation, to be independent of the SDK once."""
    assert runtime_url(region, kind) == f"https://{host}"


@pytest.mark.parametrize("kind", [PLAIN, FIPS, DUAL_STACK, BOTH])
def test_every_region_that_the_sdk_knows_has_a_host(kind: HostKind) -> None:
    """There is one HTTPS host per region, and none twice."""
    urls = [runtime_url(region, kind) for region in REGIONS]
    assert len(set(urls)) == len(REGIONS)
    assert [url.partition("://")[0] for url in urls] == ["https"] * len(REGIONS)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (FIPS, "change aws.use_fips_endpoint,"),
        (DUAL_STACK, "change aws.use_dualstack_endpoint,"),
        (BOTH, "change aws.use_fips_endpoint and aws.use_dualstack_endpoint,"),
    ],
)
def test_a_partition_without_such_hosts_is_told(monkeypatch: pytest.MonkeyPatch, kind: HostKind, named: str) -> None:
    """By region and setting, with what to do. All of today's partitions have all kinds, so here is one that has not."""
    partitions = deepcopy(descriptions().load_data("partitions"))
    for partition in partitions["partitions"]:
        partition["outputs"] |= {"supportsFIPS": False, "supportsDualStack": False}
    rules = EndpointProvider(descriptions().load_service_model("sagemaker-runtime", "endpoint-rule-set-1"), partitions)
    monkeypatch.setattr(rules_of_aws, "runtime_hosts", lambda: rules)

    with pytest.raises(HostError, match=r"in region us-east-1 \(.*partition does not support") as caught:
        runtime_url("us-east-1", kind)
    assert named in str(caught.value)
    assert "endpoint_url" in str(caught.value)


def test_the_rules_are_read_once() -> None:
    """However many endpoints there are."""
    assert rules_of_aws.runtime_hosts() is rules_of_aws.runtime_hosts()


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_the_environment_decides_where_the_config_does_not(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """As in AWS SDKs; what the config says holds."""
    assert host_kind(fips=None, dual_stack=None) == PLAIN
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", value)
    assert host_kind(fips=None, dual_stack=None) == FIPS
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", value)
    assert host_kind(fips=None, dual_stack=None) == BOTH
    assert host_kind(fips=False, dual_stack=None) == DUAL_STACK
    assert host_kind(fips=None, dual_stack=False) == FIPS
    assert host_kind(fips=False, dual_stack=False) == PLAIN
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "false")
    assert host_kind(fips=True, dual_stack=None) == BOTH


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An AWS config file with profiles that ask for kinds of hosts."""
    path = tmp_path / "config"
    path.write_text(
        "[default]\nuse_dualstack_endpoint = true\n"
        "[profile gov]\nuse_fips_endpoint = true\n"
        "[profile plain]\nuse_fips_endpoint = false\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return monkeypatch


def test_the_profile_decides_where_the_environment_does_not(profiles: pytest.MonkeyPatch) -> None:
    """The endpoint's own, else that of the process, else the default one; the environment comes before all."""
    assert host_kind(fips=None, dual_stack=None) == DUAL_STACK
    assert host_kind(fips=None, dual_stack=None, profile="gov") == FIPS
    profiles.setenv("AWS_PROFILE", "gov")
    assert host_kind(fips=None, dual_stack=None) == FIPS
    assert host_kind(fips=None, dual_stack=None, profile="plain") == PLAIN
    profiles.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    assert host_kind(fips=None, dual_stack=None, profile="plain") == FIPS


@pytest.mark.usefixtures("profiles")
def test_a_profile_that_is_not_there_is_told() -> None:
    """In a sentence, unless nothing of it is asked."""
    with pytest.raises(HostError, match=r"profile \(nobody\) could not be found; mend"):
        host_kind(fips=None, dual_stack=None, profile="nobody")
    assert host_kind(fips=True, dual_stack=True, profile="nobody") == BOTH
