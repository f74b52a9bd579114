"""Hosts: where botocore's client would go, the gateway goes."""

import pytest
from botocore.session import get_session

from gateway.sagemaker.hosts import runtime_url

REGIONS = get_session().get_available_regions("sagemaker-runtime")


@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-1", "cn-north-1", "us-gov-west-1", "eu-central-2"])
def test_the_host_is_that_of_the_sdk(region: str) -> None:
    """A real client of the region has the same base URL, in every partition."""
    session = get_session()
    session.set_credentials("AKIAEXAMPLE", "secret")
    client = session.create_client("sagemaker-runtime", region_name=region)
    assert runtime_url(region) == client.meta.endpoint_url


def test_the_host_is_the_documented_one() -> None:
    """The name in AWS's documentation, to be independent of the SDK once."""
    assert runtime_url("ap-northeast-1") == "https://runtime.sagemaker.ap-northeast-1.amazonaws.com"


def test_every_region_that_the_sdk_knows_has_a_host() -> None:
    """There is one HTTPS host per region, and none twice."""
    urls = [runtime_url(region) for region in REGIONS]
    assert len(set(urls)) == len(REGIONS)
    assert [url.partition("://")[0] for url in urls] == ["https"] * len(REGIONS)
