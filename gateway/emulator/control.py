"""The control plane: describes endpoints, endpoint configs and inference components, as far as they are deployed.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeInferenceComponent.html (protocol: AWS JSON 1.1).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.emulator.deployment import Deployment
from gateway.emulator.endpoint import Endpoint
from gateway.emulator.plan import variants_of
from gateway.emulator.refusals import RefusedError, control_plane
from gateway.emulator.settings import ServerlessSettings, VariantSettings

TARGET = "SageMaker."
CONFIG_SUFFIX = "-config"
"""What an endpoint's name and this make the name of its endpoint config."""


class ControlPlane:
    """Describes what there is; it is in service from the start."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], *, region: str, account_id: str, created_at: datetime
    ) -> None:
        self._endpoints = endpoints
        self._homes = {
            component: name for name, each in endpoints.items() for component in each.settings.inference_components
        }
        self._account = f"arn:aws:iam::{account_id}"
        self._arn = f"arn:aws:sagemaker:{region}:{account_id}"
        self._created_at = created_at.timestamp()
        self._actions = {
            "DescribeEndpoint": ("EndpointName", self._describe_endpoint),
            "DescribeEndpointConfig": ("EndpointConfigName", self._describe_endpoint_config),
            "DescribeInferenceComponent": ("InferenceComponentName", self._describe_component),
        }

    def answer(self, target: str | None, body: bytes) -> dict[str, Any]:
        """The answer to an action.

        Args:
            target: The header `X-Amz-Target`, such as `SageMaker.DescribeEndpoint`.
            body: The parameters as JSON.

        Raises:
            RefusedError: The action, its parameters, or what it asks for are unknown.
        """
        action = (target or "").removeprefix(TARGET)
        if action in self._actions:
            parameter, describe = self._actions[action]
            return describe(_parameter(body, parameter))
        known = " and ".join(TARGET + name for name in self._actions)
        message = f"X-Amz-Target {target!r} is unknown here; the emulator knows {known}"
        raise RefusedError(control_plane("UnknownOperationException", message))

    def _describe_endpoint(self, name: str) -> dict[str, Any]:
        endpoint = self._endpoints.get(name)
        arn = f"{self._arn}:endpoint/{name.lower()}"
        if endpoint is None:
            raise RefusedError(control_plane("ValidationException", f'Could not find endpoint "{arn}".'))
        self._check_switches(endpoint, "DescribeEndpoint", arn)
        variants = {} if endpoint.settings.inference_components else endpoint.deployments
        changed_at = [each.modified_at for each in variants.values()]
        updating = any(each.status == "Updating" for each in variants.values())
        return {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": name + CONFIG_SUFFIX,
            "EndpointStatus": "Updating" if updating else "InService",
            "ProductionVariants": [
                {
                    "VariantName": variant,
                    **_counts(settings, variants.get(variant)),
                    "CurrentWeight": settings.weight,
                    "DesiredWeight": settings.weight,
                    "RoutingConfig": {"RoutingStrategy": settings.routing},
                }
                for variant, settings in variants_of(endpoint.settings).items()
            ],
            "CreationTime": self._created_at,
            "LastModifiedTime": max([self._created_at, *changed_at]),
        }

    def _describe_endpoint_config(self, config_name: str) -> dict[str, Any]:
        name = config_name.removesuffix(CONFIG_SUFFIX)
        endpoint = self._endpoints.get(name)
        arn = f"{self._arn}:endpoint-config/{config_name.lower()}"
        if endpoint is None or name == config_name:
            raise RefusedError(control_plane("ValidationException", f'Could not find endpoint configuration "{arn}".'))
        self._check_switches(endpoint, "DescribeEndpointConfig", arn)
        hosts_components = bool(endpoint.settings.inference_components)
        return {
            "EndpointConfigName": config_name,
            "EndpointConfigArn": arn,
            # Instances that host components have no model of their own, and a role to fetch the models of those.
            **({"ExecutionRoleArn": f"{self._account}:role/emulator"} if hosts_components else {}),
            "ProductionVariants": [
                {
                    "VariantName": variant,
                    **({} if hosts_components else {"ModelName": f"{name}-model"}),
                    **_initial_counts(settings),
                    "InitialVariantWeight": settings.weight,
                    "RoutingConfig": {"RoutingStrategy": settings.routing},
                }
                for variant, settings in variants_of(endpoint.settings).items()
            ],
            "CreationTime": self._created_at,
        }

    def _describe_component(self, name: str) -> dict[str, Any]:
        home = self._homes.get(name)
        arn = f"{self._arn}:inference-component/{name.lower()}"
        if home is None:
            raise RefusedError(control_plane("ValidationException", f'Could not find inference component "{arn}".'))
        endpoint = self._endpoints[home]
        self._check_switches(endpoint, "DescribeInferenceComponent", arn)
        deployment = endpoint.deployments[name]
        return {
            "InferenceComponentName": name,
            "InferenceComponentArn": arn,
            "EndpointName": home,
            "EndpointArn": f"{self._arn}:endpoint/{home.lower()}",
            "VariantName": deployment.plan.variant,
            "InferenceComponentStatus": deployment.status,
            "Specification": {
                "ModelName": f"{name}-model",
                "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1.0, "MinMemoryRequiredInMb": 1024},
            },
            "RuntimeConfig": {"CurrentCopyCount": deployment.current, "DesiredCopyCount": deployment.desired},
            "CreationTime": self._created_at,
            "LastModifiedTime": max(self._created_at, deployment.modified_at),
        }

    def _check_switches(self, endpoint: Endpoint, action: str, arn: str) -> None:
        if endpoint.describe_throttled:
            raise RefusedError(control_plane("ThrottlingException", "Rate exceeded"))
        if endpoint.describe_denied:
            message = (
                f"User: {self._account}:user/emulator is not authorized to perform: sagemaker:{action} on resource: "
                f"{arn} because no identity-based policy allows the sagemaker:{action} action"
            )
            raise RefusedError(control_plane("AccessDeniedException", message))


def _counts(settings: VariantSettings, deployment: Deployment | None) -> dict[str, Any]:
    """What a variant has and should have; one that only hosts components has what it was deployed with."""
    current, desired = (deployment.current, deployment.desired) if deployment else (settings.instances,) * 2
    if settings.serverless is None:
        return {"CurrentInstanceCount": current, "DesiredInstanceCount": desired}
    return {
        "CurrentServerlessConfig": _serverless(settings.serverless, current),
        "DesiredServerlessConfig": _serverless(settings.serverless, desired),
    }


def _initial_counts(settings: VariantSettings) -> dict[str, Any]:
    if settings.serverless is None:
        return {"InitialInstanceCount": settings.instances}
    return {"ServerlessConfig": _serverless(settings.serverless, settings.serverless.max_concurrency)}


def _serverless(settings: ServerlessSettings, max_concurrency: int) -> dict[str, int]:
    return {"MemorySizeInMB": settings.memory_mb, "MaxConcurrency": max_concurrency}


def _parameter(body: bytes, key: str) -> str:
    try:
        parameters = json.loads(body)
    except ValueError as error:
        raise RefusedError(control_plane("SerializationException", f"the body is not JSON: {error}")) from None
    value = parameters.get(key) if isinstance(parameters, dict) else None
    if not isinstance(value, str):
        message = f"1 validation error detected: Value at '{key}' failed to satisfy constraint: Member must be a string"
        raise RefusedError(control_plane("ValidationException", message))
    return value
