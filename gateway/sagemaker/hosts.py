"""Where SageMaker lives: the base URL of its APIs in a region, by botocore's own endpoint rules."""

from dataclasses import dataclass
from pkgutil import resolve_name

from botocore.exceptions import BotoCoreError

from gateway.config import Config
from gateway.models import Operation


class HostError(Exception):
    """No host can be told; the message says for which region or profile, and what to do."""


@dataclass(frozen=True, slots=True)
class HostKind:
    """Which of the hosts that a region has.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html

    Attributes:
        fips: one that is validated for FIPS 140.
        dual_stack: one that speaks IPv6 too.
    """

    fips: bool = False
    dual_stack: bool = False


PLAIN = HostKind()


def host_kind(*, fips: bool | None, dual_stack: bool | None, profile: str | None = None) -> HostKind:
    """The hosts to use: as asked for, and where nothing is (None) as an AWS SDK does.

    That is by `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`, then by `use_fips_endpoint` and
    `use_dualstack_endpoint` of the profile.

    Args:
        fips: as in the config.
        dual_stack: as in the config.
        profile: a profile of the AWS config file; without one it is that of the process.

    Raises:
        HostError: the AWS config file cannot be read, or has no such profile.
    """
    if fips is not None and dual_stack is not None:
        return HostKind(fips=fips, dual_stack=dual_stack)
    setting = resolve_name("gateway.sagemaker.rules:own_settings")(profile)
    try:
        return HostKind(
            fips=bool(setting("use_fips_endpoint") if fips is None else fips),
            dual_stack=bool(setting("use_dualstack_endpoint") if dual_stack is None else dual_stack),
        )
    except BotoCoreError as error:
        raise HostError(
            f"AWS's own settings cannot be used: {error}; mend the AWS config file, or the name of the profile"
        ) from error


def runtime_url(region: str, kind: HostKind = PLAIN) -> str:
    """The base URL of the SageMaker Runtime API. Any well-formed region has one, whether AWS runs it or not.

    https://docs.aws.amazon.com/general/latest/gr/sagemaker.html

    Raises:
        HostError: the region's partition has no hosts of this kind.
    """
    rules = resolve_name("gateway.sagemaker.rules:runtime_hosts")()
    try:
        endpoint = rules.resolve_endpoint(Region=region, UseFIPS=kind.fips, UseDualStack=kind.dual_stack)
    except BotoCoreError as error:
        asked = {"aws.use_fips_endpoint": kind.fips, "aws.use_dualstack_endpoint": kind.dual_stack}
        settings = " and ".join(name for name, wanted in asked.items() if wanted) or "the region"
        raise HostError(
            f"AWS has no host for the SageMaker Runtime API in region {region} ({error}); "
            f"change {settings}, or name a host with endpoint_url"
        ) from error
    return str(endpoint.url)


def call_url(config: Config, name: str, operation: Operation, kind: HostKind) -> str:
    """The URL that calls of one operation to an endpoint go to.

    Args:
        config: the settings.
        name: key of the endpoint.
        operation: what is asked of it.
        kind: which of AWS's own hosts, where the config names none.

    Raises:
        HostError: the region's partition has no hosts of this kind.
    """
    settings, aws = config.endpoints[name], config.aws
    base = settings.endpoint_url or aws.endpoint_url or runtime_url(settings.region or aws.region, kind)
    return f"{base}/endpoints/{config.endpoint_name(name)}/{operation.suffix}"
