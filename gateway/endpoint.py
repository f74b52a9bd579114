"""All that the data path needs of one endpoint, worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.capacity import Follower
from gateway.config import Endpoint as EndpointSettings
from gateway.health import Health
from gateway.limiter import Limiter
from gateway.models import Headers
from gateway.pace import Pace
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.signing import Signer


@dataclass(frozen=True, slots=True)
class Door:
    """Where the calls of one operation go.

    Attributes:
        url: their whole URL.
        signer: signs for it.
        fixed: headers that the endpoint's settings fix.
        timeout_seconds: how long a call may take.
        max_response_bytes: longest answer that is read.
    """

    url: str
    signer: Signer
    fixed: Headers
    timeout_seconds: float
    max_response_bytes: int


@dataclass(slots=True, eq=False, weakref_slot=True)
class Endpoint:
    """One endpoint, from the config in which it first stands to the last, however its settings change in between.

    Attributes:
        name: its key in the config.
        settings: its settings.
        limiter: its permits and its queue.
        health: whether it takes calls now.
        credentials: what its calls are signed with.
        doors: by operation name, where its calls go.
        pace: how long its calls take.
        follower: keeps its permits as many as its fleet has room for; None where their number is a setting.
        removed: whether it has left the config, and only goes on for those who came before.
    """

    name: str
    settings: EndpointSettings
    limiter: Limiter
    health: Health
    credentials: CredentialSource
    doors: Mapping[str, Door]
    pace: Pace = field(default_factory=Pace)
    follower: Follower | None = None
    removed: bool = False
