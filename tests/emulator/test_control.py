"""The control plane, as the SDK of AWS reads it."""

from datetime import UTC, datetime

import pytest

from gateway.emulator import Emulator

from .support import FAST, http, sdk, settings, unsigned

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_an_endpoint_is_described_as_it_is_deployed() -> None:
    """DescribeEndpoint and DescribeEndpointConfig tell instances, routing and names."""
    emulated = settings({"Seed": {"instances": 2, "routing": "RANDOM", **FAST}})
    async with (
        Emulator(emulated, wall_clock=lambda: datetime.now(UTC)) as emulator,
        sdk(emulator, "sagemaker") as client,
    ):
        reply = await client.describe_endpoint(EndpointName="Seed")
        config = await client.describe_endpoint_config(EndpointConfigName=reply["EndpointConfigName"])
    assert (reply["EndpointName"], reply["EndpointStatus"]) == ("Seed", "InService")
    assert reply["EndpointArn"] == "arn:aws:sagemaker:ap-northeast-1:123456789012:endpoint/seed"
    assert reply["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "CurrentInstanceCount": 2,
            "DesiredInstanceCount": 2,
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "RoutingConfig": {"RoutingStrategy": "RANDOM"},
        }
    ]
    assert isinstance(reply["CreationTime"], datetime)
    assert reply["LastModifiedTime"] == reply["CreationTime"]
    (variant,) = config["ProductionVariants"]
    assert (variant["VariantName"], variant["InitialInstanceCount"]) == ("AllTraffic", 2)
    assert variant["RoutingConfig"] == {"RoutingStrategy": "RANDOM"}


async def test_what_does_not_exist_is_a_validation_exception() -> None:
    """Unknown endpoints and endpoint configs are 400 ValidationException; the SDK's waiters rely on that code."""
    async with Emulator(settings({"seed": FAST})) as emulator, sdk(emulator, "sagemaker") as client:
        with pytest.raises(
            client.exceptions.ClientError, match=r'Could not find endpoint "arn:aws:.*/nobody"'
        ) as caught:
            await client.describe_endpoint(EndpointName="nobody")
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        for name in ("nobody-config", "seed"):
            with pytest.raises(client.exceptions.ClientError, match="Could not find endpoint configuration"):
                await client.describe_endpoint_config(EndpointConfigName=name)
        with pytest.raises(client.exceptions.ClientError, match=r"knows SageMaker\.DescribeEndpoint") as caught:
            await client.list_endpoints()
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"


@pytest.mark.parametrize(("body", "code"), [(b"{", "SerializationException"), (b"[]", "ValidationException")])
async def test_malformed_parameters_are_refused(body: bytes, code: str) -> None:
    """A body that is no JSON, or has no name, is 400 and says so."""
    headers = {"X-Amz-Target": "SageMaker.DescribeEndpoint"}
    async with (
        Emulator(unsigned(seed=FAST)) as emulator,
        http() as session,
        session.post(f"{emulator.url}/", data=body, headers=headers) as reply,
    ):
        assert (reply.status, (await reply.json(content_type=None))["__type"]) == (400, code)


async def test_creation_time_is_the_wall_clock_s() -> None:
    """The time of creation is when the emulator started, by its wall clock."""
    emulated = settings({"seed": FAST}, verify_signatures=False)
    async with Emulator(emulated, wall_clock=lambda: NOW) as emulator, sdk(emulator, "sagemaker") as client:
        assert (await client.describe_endpoint(EndpointName="seed"))["CreationTime"] == NOW
