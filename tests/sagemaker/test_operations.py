"""Which headers each operation takes, by AWS's own model of the API."""

import pytest
from botocore.loaders import create_loader
from botocore.model import ServiceModel

from gateway.models import Operation
from gateway.sagemaker.protocol import OPERATIONS

API = ServiceModel(create_loader().load_service_model("sagemaker-runtime", "service-2"))


def test_every_operation_of_the_sdk_is_served() -> None:
    """With its own path and status."""
    assert {operation.name for operation in OPERATIONS} == set(API.operation_names)
    for operation in OPERATIONS:
        path = API.operation_model(operation.name).http["requestUri"]
        assert path == f"/endpoints/{{EndpointName}}/{operation.suffix}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_all_headers_of_the_model_go_up_and_no_others(operation: Operation) -> None:
    """In the spelling of the operation: a stream's Accept is not that of a plain call."""
    members = API.operation_model(operation.name).input_shape.members.values()
    wanted = {member.serialization["name"] for member in members if member.serialization.get("location") == "header"}

    assert {header.name.lower() for header in operation.request_headers.values()} == {name.lower() for name in wanted}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_all_headers_of_the_model_come_back(operation: Operation) -> None:
    """What an SDK makes members of, it gets; and besides only what every answer of AWS has."""
    members = API.operation_model(operation.name).output_shape.members.values()
    wanted = {member.serialization["name"] for member in members if member.serialization.get("location") == "header"}
    common = {
        "content-type",
        "retry-after",
        "x-amz-retry-after",
        "x-amzn-errortype",
        "x-amzn-requestid",
        "x-amzn-invoked-production-variant",
        "x-amzn-sagemaker-custom-attributes",
    }

    assert {name.lower() for name in wanted} | common == operation.response_headers


def test_only_the_asynchronous_one_takes_no_permit() -> None:
    """SageMaker queues its calls; the others run a model at once."""
    assert [operation.name for operation in OPERATIONS if not operation.takes_permit] == ["InvokeEndpointAsync"]
