"""The settings of the emulator: every name, default, unit and meaning, typed, frozen and validated."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, field_validator, model_validator
from yarl import URL

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration in seconds, zero allowed."""

Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A duration in seconds that something may last at most."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$", max_length=63)]
"""A name of an endpoint, variant or component, by the pattern of the SageMaker API (CreateEndpoint, EndpointName)."""

Routing = Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"]
"""How an endpoint chooses an instance for a call (API: ProductionVariantRoutingConfig)."""

Framing = Literal["as_it_comes", "split", "merged"]
"""What becomes of the chunks of a streamed answer: a message each, several messages each, several in one message."""

ALL_TRAFFIC = "AllTraffic"
"""The one production variant of an endpoint that names none."""

Text = Annotated[str, StringConstraints(min_length=1)]
Words = Annotated[tuple[Text, ...], Strict(strict=False), Field(min_length=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ListenSettings(_Settings):
    """Where the emulator listens; port 0 takes any free port."""

    host: Text = "127.0.0.1"
    port: int = Field(default=9000, ge=0, le=65535)


class CredentialSettings(_Settings):
    """A key pair whose signatures are accepted; with a session token, only together with that token."""

    access_key_id: Text = "AKIAEMULATOR"
    secret_access_key: Text = Field(default="emulator-secret", repr=False)
    session_token: Text | None = Field(default=None, repr=False)


class ModelSettings(_Settings):
    """The built-in model: it sleeps, then answers `{"message":"finish"}`, or with `echo` the body it was sent."""

    seconds: Seconds = 5.0
    echo: bool = False


class ServerlessSettings(_Settings):
    """Serverless capacity: no instances, only so many calls at once. The defaults are those of AWS's SDK for Python."""

    max_concurrency: int = Field(default=5, ge=1, le=200)
    """More calls at once are refused with ThrottlingException; each has a container of its own here, always up."""
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    """What DescribeEndpoint shows as MemorySizeInMB."""


class FleetSettings(_Settings):
    """What the instances of a fleet are like, and how a call finds its way to one.

    What an instance is, is said by exactly one of `model` (built in), `command` (a process that obeys SageMaker's
    container contract on the port in `SAGEMAKER_BIND_TO_PORT`) and `url` (a running server of that contract, which
    every instance of the fleet then stands for).
    """

    concurrency_per_instance: int = Field(default=1, ge=1)
    """How many calls an instance works on at a time; the others wait inside the instance, first come first served."""
    routing: Routing = "LEAST_OUTSTANDING_REQUESTS"
    wake_after_seconds: Seconds | None = None
    """How long after a call that met no instance one is started (AWS: by an alarm and Application Auto Scaling)."""
    startup_seconds: Limit = 240.0
    """How long an instance may take until `GET /ping` answers 200 (AWS: 4 minutes)."""
    stop_seconds: Seconds = 30.0
    """How long a `command` may take to end after SIGTERM, before SIGKILL (AWS: 30 seconds)."""
    model: ModelSettings | None = None
    command: Words | None = None
    environment: dict[Text, str] = Field(default_factory=dict)
    """Variables for `command`, on top of the emulator's own environment."""
    url: str | None = None

    @field_validator("url")
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is not None:
            parsed = URL(url)
            if parsed.scheme not in {"http", "https"} or not parsed.host:
                raise ValueError("a URL like http://127.0.0.1:8080")
        return url

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [key for key in ("model", "command", "url") if getattr(self, key) is not None]
        if len(kinds) > 1:
            raise ValueError(f"exactly one of model, command and url, not {' and '.join(kinds)} together")
        if self.environment and self.command is None:
            raise ValueError("environment only beside command: nothing else is started with it")
        return self


class _SizedSettings(FleetSettings):
    instances: int = Field(default=1, ge=1)
    serverless: ServerlessSettings | None = None
    """In place of `instances` and `concurrency_per_instance`."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.serverless is not None:
            for key in ("instances", "concurrency_per_instance"):
                if key in self.model_fields_set:
                    raise ValueError(f"{key} or serverless, not both: what is serverless has max_concurrency")
        return self


class VariantSettings(_SizedSettings):
    """A production variant; what it leaves out of the settings of a fleet it has from its endpoint."""

    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Its share of the calls, beside the weights of the other variants."""


class ComponentSettings(FleetSettings):
    """An inference component; what it leaves out of the settings of a fleet it has from its endpoint."""

    copies: int = Field(default=1, ge=0)
    """How many copies of its model there are: its instances."""
    variant: Name = ALL_TRAFFIC
    """The production variant on whose instances the copies run."""


class EndpointSettings(_SizedSettings):
    """One endpoint: a fleet of instances, or several as variants or inference components; and the limits at the front.

    With `inference_components` nothing runs on the endpoint's instances but the copies of the components; how many
    instances there are is then only shown.
    """

    variants: dict[Name, VariantSettings] = Field(default_factory=dict)
    """Production variants by name, in place of `instances` and `serverless`; without any there is one: AllTraffic."""
    inference_components: dict[Name, ComponentSettings] = Field(default_factory=dict)
    """By name; then each call must say for which of them it is. Names are unique in the whole account."""
    timeout_seconds: Limit = 60.0
    """How long a caller waits for its answer, from its arrival; the instance does not hear of it."""
    stream_timeout_seconds: Limit = 480.0
    """The same for a streamed answer, to its last byte (AWS: 8 minutes)."""
    framing: Framing = "as_it_comes"
    describe_throttled: bool = False
    """Whether the control plane refuses to describe it, with ThrottlingException."""
    describe_denied: bool = False
    """The same, with AccessDeniedException."""
    max_body_bytes: int = Field(default=26_214_400, ge=0)
    """The largest body of a request, and of a container's answer."""
    throttle_above: int | None = Field(default=None, ge=0)
    """More calls open at once than this are refused with ThrottlingException."""

    @model_validator(mode="after")
    def _variants_fit(self) -> Self:
        for key in ("instances", "serverless"):
            if self.variants and key in self.model_fields_set:
                raise ValueError(f"{key} or variants, not both: each variant has its own {key}")
        if self.variants and not any(variant.weight for variant in self.variants.values()):
            raise ValueError("at least one variant with a weight above 0: no other gets a call that names none")
        return self

    @model_validator(mode="after")
    def _components_fit(self) -> Self:
        known = list(self.variants) or [ALL_TRAFFIC]
        for name, component in self.inference_components.items():
            if component.variant not in known:
                raise ValueError(
                    f"one of {', '.join(known)} as the variant of the inference component {name}, not "
                    f"{component.variant}; name it in variants, or leave it out of the component"
                )
        serverless = [self.serverless, *(variant.serverless for variant in self.variants.values())]
        if self.inference_components and any(serverless):
            raise ValueError("inference_components or serverless, not both: components need instances")
        return self


class EmulatorSettings(_Settings):
    """The emulator as a whole: its address, its AWS account and region, who may sign, and its endpoints."""

    listen: ListenSettings = ListenSettings()
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,}(-[a-z0-9]+)+$")] = "ap-northeast-1"
    account_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] = "123456789012"
    verify_signatures: bool = True
    clock_skew_seconds: Seconds = 300.0
    """How far the time in a signature may be from the emulator's clock, either way (AWS: 5 minutes)."""
    idle_connection_seconds: Limit = 60.0
    """When a kept-alive connection without a request is closed."""
    credentials: Annotated[tuple[CredentialSettings, ...], Strict(strict=False)] = (CredentialSettings(),)
    endpoints: dict[Name, EndpointSettings] = Field(min_length=1)

    @model_validator(mode="after")
    def _components_are_unique(self) -> Self:
        homes: dict[str, str] = {}
        for endpoint, settings in self.endpoints.items():
            for name in settings.inference_components:
                if name in homes:
                    raise ValueError(
                        f"each inference component once in the account, not {name} at {homes[name]} and at {endpoint}"
                    )
                homes[name] = endpoint
        return self
