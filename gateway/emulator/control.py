"""The control plane: DescribeEndpoint and DescribeEndpointConfig, as far as they tell what is deployed.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html (protocol: AWS JSON 1.1).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.emulator.deployment import Deployment
from gateway.emulator.refusals import RefusedError, control_plane
from gateway.emulator.runtime import VARIANT

TARGET = "SageMaker."
CONFIG_SUFFIX = "-config"
"""What an endpoint's name and this make the name of its endpoint config."""


class ControlPlane:
    """Describes the endpoints; they are in service from the start."""

    def __init__(
        self, deployments: Mapping[str, Deployment], *, region: str, account_id: str, created_at: datetime
    ) -> None:
        self._deployments = deployments
        self._user = f"arn:aws:iam::{account_id}:user/emulator"
        self._arn = f"arn:aws:sagemaker:{region}:{account_id}"
        self._created_at = created_at.timestamp()

    def answer(self, target: str | None, body: bytes) -> dict[str, Any]:
        """The answer to an action.

        Args:
            target: The header `X-Amz-Target`, such as `SageMaker.DescribeEndpoint`.
            body: The parameters as JSON.

        Raises:
            RefusedError: The action, its parameters or the endpoint are unknown.
        """
        action = (target or "").removeprefix(TARGET)
        if action == "DescribeEndpoint":
            name = _parameter(body, "EndpointName")
            return self._describe_endpoint(name)
        if action == "DescribeEndpointConfig":
            name = _parameter(body, "EndpointConfigName")
            return self._describe_endpoint_config(name)
        known = f"{TARGET}DescribeEndpoint and {TARGET}DescribeEndpointConfig"
        message = f"X-Amz-Target {target!r} is unknown here; the emulator knows {known}"
        raise RefusedError(control_plane("UnknownOperationException", message))

    def _describe_endpoint(self, name: str) -> dict[str, Any]:
        deployment = self._deployments.get(name)
        arn = f"{self._arn}:endpoint/{name.lower()}"
        if deployment is None:
            raise RefusedError(control_plane("ValidationException", f'Could not find endpoint "{arn}".'))
        self._check_switches(deployment, "DescribeEndpoint", arn)
        return {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": name + CONFIG_SUFFIX,
            "EndpointStatus": deployment.status,
            "ProductionVariants": [
                {
                    "VariantName": VARIANT,
                    "CurrentInstanceCount": deployment.current,
                    "DesiredInstanceCount": deployment.desired,
                    "CurrentWeight": 1.0,
                    "DesiredWeight": 1.0,
                    "RoutingConfig": {"RoutingStrategy": deployment.settings.routing},
                }
            ],
            "CreationTime": self._created_at,
            "LastModifiedTime": max(self._created_at, deployment.modified_at),
        }

    def _describe_endpoint_config(self, config_name: str) -> dict[str, Any]:
        name = config_name.removesuffix(CONFIG_SUFFIX)
        deployment = self._deployments.get(name)
        arn = f"{self._arn}:endpoint-config/{config_name.lower()}"
        if deployment is None or name == config_name:
            raise RefusedError(control_plane("ValidationException", f'Could not find endpoint configuration "{arn}".'))
        self._check_switches(deployment, "DescribeEndpointConfig", arn)
        settings = deployment.settings
        return {
            "EndpointConfigName": config_name,
            "EndpointConfigArn": arn,
            "ProductionVariants": [
                {
                    "VariantName": VARIANT,
                    "ModelName": f"{name}-model",
                    "InitialInstanceCount": settings.instances,
                    "InitialVariantWeight": 1.0,
                    "RoutingConfig": {"RoutingStrategy": settings.routing},
                }
            ],
            "CreationTime": self._created_at,
        }

    def _check_switches(self, deployment: Deployment, action: str, arn: str) -> None:
        if deployment.describe_throttled:
            raise RefusedError(control_plane("ThrottlingException", "Rate exceeded"))
        if deployment.describe_denied:
            message = (
                f"User: {self._user} is not authorized to perform: sagemaker:{action} on resource: {arn} because no "
                f"identity-based policy allows the sagemaker:{action} action"
            )
            raise RefusedError(control_plane("AccessDeniedException", message))


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
