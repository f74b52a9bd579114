"""The AWS credential chain of one identity, run by aiobotocore; loaded by `identities` when one has to be run."""

from functools import partial
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession
from aiobotocore.utils import create_nested_client

from gateway.sagemaker.credentials import Provider
from gateway.sagemaker.rules import descriptions

SESSION_NAME = "sagemaker-gateway"
"""The name under which CloudTrail, in the account of a role, shows what the gateway does with it."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
"""How long STS and its like may be silent. botocore's own 60 s would leave no time for a second try."""


async def run(
    profile: str | None, role_arn: str | None, *, region: str, fips: bool | None, dual_stack: bool | None
) -> Provider | None:
    """Run the chain from its start. A session remembers what it has read, so each run has its own.

    Args:
        profile: a profile of the AWS config file; without one the chain decides.
        role_arn: the IAM role that is assumed with what is found; without one that is what signs.
        region: where roles are assumed.
        fips: whether the hosts of STS and its like are those validated for FIPS 140.
        dual_stack: whether they are those that speak IPv6 too.
    """
    session = AioSession(profile=profile)
    session.register_component("data_loader", descriptions())
    session.set_default_client_config(_client_config(fips=fips, dual_stack=dual_stack))
    if session.get_config_variable("region") is None:  # where profiles assume roles of their own
        session.set_config_variable("region", region)
    found: Provider | None = await session.get_credentials()
    if role_arn is None or found is None:
        return found
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=partial(create_nested_client, session, region_name=region),
        source_credentials=found,
        role_arn=role_arn,
        extra_args={"RoleSessionName": SESSION_NAME},
    )
    assumed: Provider = AioDeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    return assumed


def _client_config(*, fips: bool | None, dual_stack: bool | None) -> Any:
    """How STS and its like are reached."""
    return AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        use_fips_endpoint=fips,
        use_dualstack_endpoint=dual_stack,
        warm_up_loader_caches=True,  # botocore's description of STS is read in a thread
    )
