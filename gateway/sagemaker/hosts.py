"""Where SageMaker lives: the base URL of its APIs in a region, by botocore's own endpoint rules."""

from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from botocore.loaders import create_loader


def runtime_url(region: str) -> str:
    """The base URL of the SageMaker Runtime API.

    https://docs.aws.amazon.com/general/latest/gr/sagemaker.html

    Raises:
        ValueError: AWS's rules name no host for the region.
    """
    loader = create_loader()
    provider = EndpointProvider(
        loader.load_service_model("sagemaker-runtime", "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    try:
        return str(provider.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False).url)
    except EndpointProviderError as error:
        raise ValueError(f"AWS names no SageMaker Runtime host for region {region!r}: {error}") from error
