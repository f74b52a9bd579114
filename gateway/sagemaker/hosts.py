"""Where SageMaker lives: the base URL of its APIs in a region, by botocore's own endpoint rules."""

from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import create_loader


def runtime_url(region: str) -> str:
    """The base URL of the SageMaker Runtime API. Any well-formed region has one, whether AWS runs it or not.

    https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
    """
    loader = create_loader()
    provider = EndpointProvider(
        loader.load_service_model("sagemaker-runtime", "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    return str(provider.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False).url)
