"""The client pool: a signed call in, SageMaker's answer out. Foreign failures become refusals here and nowhere else."""

from gateway.upstream.client import Retries, Sink, Upstream
from gateway.upstream.lifetime import open_upstream

__all__ = ["Retries", "Sink", "Upstream", "open_upstream"]
