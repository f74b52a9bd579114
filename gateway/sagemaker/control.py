"""What an endpoint's fleet looks like now, as the control plane tells it.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeInferenceComponent.html
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from gateway.errors import Refusal
from gateway.sagemaker.hosts import PLAIN, HostKind
from gateway.sagemaker.signing import Credentials

Client: TypeAlias = Any
"""aiobotocore's client of the service `sagemaker`, which has no types."""
Tree: TypeAlias = Mapping[str, Any]
"""A part of an answer."""

ANSWER_SECONDS = 10.0
"""How long a description may take as a whole. botocore's own limits are idle timers."""
DESCRIBE_ENDPOINT = "sagemaker:DescribeEndpoint"
DESCRIBE_INFERENCE_COMPONENT = "sagemaker:DescribeInferenceComponent"

SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"})
"""States of an endpoint that takes calls: all that it has is what it has now, whatever it is to become."""
SERVING_COMPONENT = frozenset({"InService", "Updating", "Failed"})
"""States of an inference component whose copies take calls. A failed update leaves those that there are."""
STABLE = "InService"
DEFAULT_ROUTING = "RANDOM"
"""What SageMaker does where the endpoint config says nothing."""

THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "429"})
DENIED = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})
NOT_FOUND = frozenset({"ValidationException", "ValidationError", "ResourceNotFound", "ResourceNotFoundException"})
"""The only parameter of a description is a name, so that is what is not valid."""
REFUSED_KEYS = re.compile(
    "(ExpiredToken|MissingAuthenticationToken|UnrecognizedClient)(Exception)?|InvalidClientTokenId"
)
BAD_SIGNATURE = re.compile(r"InvalidSignature(Exception)?|IncompleteSignature|RequestExpired|SignatureDoesNotMatch")


class ControlError(Exception):
    """The fleet could not be read.

    The message is in our own words: AWS's names accounts, and so does not leave this module except as the cause.
    """


class ThrottledError(ControlError):
    """Too many descriptions at once, of ours and of everybody else in the account."""


class DeniedError(ControlError):
    """The role may not describe; the message names the IAM action."""


class NotFoundError(ControlError):
    """There is no such endpoint, variant or inference component."""


class BadCredentialsError(ControlError):
    """There is nothing to sign with, or what there is does not count."""


class RefusedKeysError(BadCredentialsError):
    """AWS takes the keys for expired, or does not know them (any more): others may do."""


class UnreachableError(ControlError):
    """No answer, or none that tells anything."""


PERMANENT = (DeniedError, NotFoundError)
"""What another try does not mend."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What serves the calls of an endpoint, of one variant or of one inference component.

    Attributes:
        instances: how many instances, or copies of the component, there are now; of a serverless endpoint, how many
            calls it takes at once.
        serverless: whether it is one.
        status: SageMaker's word for its state.
        serving: whether it takes calls in this state.
        stable: whether it is not about to change.
        routing: the strategies by which calls are spread over the instances, in order and each once.
        variants: how many variants share the calls, by their weights.
    """

    instances: int
    serverless: bool
    status: str
    serving: bool
    stable: bool
    routing: tuple[str, ...]
    variants: int


@asynccontextmanager
async def open_control(
    region: str, endpoint_url: str | None, keys: Callable[[], Credentials], kind: HostKind = PLAIN
) -> AsyncIterator[Client]:
    """A client of the control plane of one region.

    Args:
        region: where the endpoints are.
        endpoint_url: where the control plane is, if it is not AWS's own.
        keys: what to sign with, asked for each request; it may raise a Refusal.
        kind: which of AWS's own hosts, where there is no `endpoint_url`.

    Raises:
        UnreachableError: AWS's own settings of this process are not usable.
    """
    # In a thread, since aiobotocore is a third of all that the gateway may have to import.
    open_client = await asyncio.to_thread(resolve_name, "gateway.sagemaker.clients:open_client")
    async with AsyncExitStack() as stack:
        try:
            opening = open_client(region, endpoint_url, keys, kind, read_seconds=ANSWER_SECONDS)
            client = await stack.enter_async_context(opening)
        except BotoCoreError as error:
            raise UnreachableError(f"no client of the control plane can be made: {error}") from error
        yield client


async def describe(
    client: Client, endpoint_name: str, *, variant: str | None = None, inference_component: str | None = None
) -> Fleet:
    """What the fleet looks like now, as far as calls reach it.

    Args:
        client: from `open_control`.
        endpoint_name: SageMaker's name of the endpoint.
        variant: the one variant that calls name; without one they reach all that have a weight.
        inference_component: the inference component that calls name.

    Raises:
        ControlError: it could not be read; which subclass says why.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if inference_component is None:
                return _of_variants(await _endpoint(client, endpoint_name), endpoint_name, variant)
            component = await _component(client, endpoint_name, inference_component)
            return _of_component(component, await _endpoint(client, endpoint_name))
    except TimeoutError as error:
        what = f"the control plane did not describe endpoint {endpoint_name} within {ANSWER_SECONDS:g} s"
        raise UnreachableError(what) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreachableError(f"the description of endpoint {endpoint_name} cannot be understood") from error


async def _endpoint(client: Client, name: str) -> Tree:
    return await _ask(client.describe_endpoint(EndpointName=name), DESCRIBE_ENDPOINT, f"endpoint {name}")


async def _component(client: Client, endpoint_name: str, name: str) -> Tree:
    """The component that has the copies: that of an adapter is its base."""
    component = await _ask_component(client, name)
    if component["EndpointName"] != endpoint_name:
        raise NotFoundError(f"inference component {name} is not on endpoint {endpoint_name}")
    specification = component.get("Specification") or {}
    base = specification.get("BaseInferenceComponentName")
    if base is not None and "RuntimeConfig" not in component:
        return await _ask_component(client, base)
    return component


async def _ask_component(client: Client, name: str) -> Tree:
    description = client.describe_inference_component(InferenceComponentName=name)
    return await _ask(description, DESCRIBE_INFERENCE_COMPONENT, f"inference component {name}")


async def _ask(description: Awaitable[Tree], action: str, what: str) -> Tree:
    """One description, or what went wrong with it in our words."""
    try:
        return await description
    except ClientError as error:
        raise _refused(error, action, what) from error
    except Refusal as error:
        raise BadCredentialsError(f"there are no usable AWS credentials to describe {what} with") from error
    except (BotoCoreError, OSError) as error:
        raise UnreachableError(f"the control plane cannot be reached ({type(error).__name__})") from error


def _refused(error: ClientError, action: str, what: str) -> ControlError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in THROTTLED:
        return ThrottledError(f"AWS throttles {action}, asked for {what}")
    if code in DENIED:
        return DeniedError(f"the gateway's role may not describe {what}: grant it the IAM action {action}")
    if code in NOT_FOUND:
        return NotFoundError(f"SageMaker knows no {what} in this account and region")
    for pattern, kind in ((REFUSED_KEYS, RefusedKeysError), (BAD_SIGNATURE, BadCredentialsError)):
        if pattern.fullmatch(code):
            return kind(f"AWS does not accept the gateway's credentials ({code})")
    shown = code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else "an unknown error"
    return UnreachableError(f"the control plane answered {shown} when asked for {what}")


def _of_variants(endpoint: Tree, endpoint_name: str, name: str | None) -> Fleet:
    variants: Sequence[Tree] = endpoint.get("ProductionVariants") or ()
    status = str(endpoint["EndpointStatus"])
    serving = status in SERVING
    if name is None:
        reached = [variant for variant in variants if variant.get("CurrentWeight", 1) > 0]
    else:
        reached = [variant for variant in variants if variant["VariantName"] == name]
        if serving and not reached:
            known = ", ".join(sorted(str(variant["VariantName"]) for variant in variants))
            raise NotFoundError(f"endpoint {endpoint_name} has no variant {name}; it has {known or 'none'}")
    return Fleet(
        instances=sum(map(_room, reached)),
        serverless=any(map(_serverless, reached)),
        status=status,
        serving=serving,
        stable=status == STABLE,
        routing=tuple(sorted({_routing(variant) for variant in reached})),
        variants=len(reached),
    )


def _of_component(component: Tree, endpoint: Tree) -> Fleet:
    host, status = str(endpoint["EndpointStatus"]), str(component["InferenceComponentStatus"])
    variants = [v for v in endpoint.get("ProductionVariants") or () if v["VariantName"] == component.get("VariantName")]
    return Fleet(
        instances=_here(component.get("RuntimeConfig") or {}, "CopyCount"),
        serverless=False,
        status=status if host in SERVING else host,
        serving=host in SERVING and status in SERVING_COMPONENT,
        stable=host == status == STABLE,
        routing=tuple(sorted({_routing(variant) for variant in variants})),
        variants=1,
    )


def _serverless(variant: Tree) -> bool:
    return "CurrentServerlessConfig" in variant


def _room(variant: Tree) -> int:
    if _serverless(variant):
        return _count(variant["CurrentServerlessConfig"]["MaxConcurrency"])
    if "CurrentInstanceCount" in variant:
        return _here(variant, "InstanceCount")
    return sum(_count(pool["CurrentInstanceCount"]) for pool in variant.get("InstancePools") or ())


def _here(tree: Tree, what: str) -> int:
    """How many there are; one that is no longer asked for is about to go: nothing new is sent to it."""
    current = _count(tree.get(f"Current{what}", 0))
    return min(current, _count(tree.get(f"Desired{what}", current)))


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a count is a whole number, not {value!r}")
    return value


def _routing(variant: Tree) -> str:
    return str((variant.get("RoutingConfig") or {}).get("RoutingStrategy", DEFAULT_ROUTING))
