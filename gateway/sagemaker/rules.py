"""What botocore knows of services, regions and AWS's own settings; loaded by `hosts` when that is asked for."""

from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import create_loader
from botocore.session import Session


def own_settings(profile: str | None) -> Callable[[str], Any]:
    """AWS's own settings, from the environment or the AWS config file, by botocore's names of them.

    Args:
        profile: a profile of the AWS config file; without one it is that of the process.
    """
    read: Callable[[str], Any] = Session(profile=profile).get_config_variable
    return read


@cache
def descriptions() -> Any:
    """What botocore knows of services and regions (a `Loader`), read once for all who ask."""
    return create_loader()


@cache
def runtime_hosts() -> Any:
    """AWS's rules for the hosts of the runtime API; tens of milliseconds to make, so once for all endpoints."""
    loader = descriptions()
    return EndpointProvider(
        loader.load_service_model("sagemaker-runtime", "endpoint-rule-set-1"), loader.load_data("partitions")
    )
