"""Who signs for which endpoint: one credential source for each identity, shared by all endpoints that have it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name

from structlog.typing import FilteringBoundLogger

from gateway.config import Config
from gateway.sagemaker.credentials import DEFAULT, CredentialSource, Provider, kept_fresh
from gateway.sagemaker.environment import keys_in


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs.

    Attributes:
        profile: a profile of the AWS config file; without one the AWS chain decides.
        role_arn: the IAM role that is assumed with the credentials found there; without one these sign themselves.
    """

    profile: str | None = None
    role_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """How the credentials of one identity are found.

    Attributes:
        identity: who signs.
        region: where roles are assumed.
        fips: whether the hosts of STS and its like are those validated for FIPS 140.
        dual_stack: whether they are those that speak IPv6 too.
        name: what operators call the identity; another name does not make another chain.
    """

    identity: Identity
    region: str
    fips: bool | None
    dual_stack: bool | None
    name: str = field(compare=False)


def chains(config: Config) -> dict[str, Chain]:
    """How the credentials of each endpoint are found, by its key: one chain for all that have the same identity."""
    users: dict[Identity, list[str]] = {}
    for key, endpoint in config.endpoints.items():
        users.setdefault(Identity(endpoint.profile, endpoint.role_arn), []).append(key)
    found, aws = {}, config.aws
    for identity, keys in users.items():
        # keys of any region are good in all of its partition, and a role never leaves its own
        region = config.endpoints[keys[0]].region or aws.region
        name = _named(identity, keys)
        chain = Chain(identity, region, aws.use_fips_endpoint, aws.use_dualstack_endpoint, name)
        found.update(dict.fromkeys(keys, chain))
    return found


@asynccontextmanager
async def open_identity(chain: Chain, log: FilteringBoundLogger) -> AsyncIterator[CredentialSource]:
    """The credentials of an identity, kept fresh until the end.

    There are some from the start if the chain is quick; one that is slow, or finds nothing, is told by the source's
    `problem` and mends itself.
    """
    source = CredentialSource(partial(_load, chain), log, name=chain.name)
    async with kept_fresh([source]):
        yield source


def problem_of(sources: Iterable[CredentialSource]) -> str | None:
    """Why no identity has usable credentials, without accounts; None where one has: its endpoints can be called."""
    each = dict.fromkeys(sources)
    problems = [
        problem if source.name == DEFAULT else f"{source.name}: {problem}"
        for source in each
        if (problem := source.problem) is not None
    ]
    return "; ".join(problems) if len(problems) == len(each) else None


def _named(identity: Identity, endpoints: Sequence[str]) -> str:
    """What operators call it. A role is called by its endpoints, since its ARN holds an account."""
    profile = f"profile {identity.profile}"
    if identity.role_arn is None:
        return DEFAULT if identity.profile is None else profile
    first, *others = endpoints
    role = f"role of {first}" + (f" and {len(others)} more" if others else "")
    return role if identity.profile is None else f"{role} from {profile}"


async def _load(chain: Chain) -> Provider | None:
    """Find the credentials of an identity from the start of its chain."""
    identity = chain.identity
    if identity == Identity() and (found := keys_in(os.environ)) is not None:
        return found
    # In a thread, since aiobotocore is a third of all that the gateway may have to import.
    run = await asyncio.to_thread(resolve_name, "gateway.sagemaker.chain:run")
    provider: Provider | None = await run(
        identity.profile, identity.role_arn, region=chain.region, fips=chain.fips, dual_stack=chain.dual_stack
    )
    return provider
