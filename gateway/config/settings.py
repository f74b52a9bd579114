"""Every setting: its name, type, default, unit and meaning, in one place."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.config.rules import conflicts
from gateway.config.values import File, Host, Name, Region, RoleArn, RoutePath, Seconds, Url, in_words

CONFLICT = "conflict"
"""The type of pydantic's error where settings do not go together."""


class Settings(BaseModel):
    """What all groups of settings share: unknown keys and wrong types are refused, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Tls(Settings):
    """The certificate of the gateway. Both files are read again on a reload."""

    certificate: File | None = Field(
        None,
        description="File with the certificate and its chain, in PEM. Default: none; callers speak plain HTTP.",
    )
    key: File | None = Field(
        None, description="File with the certificate's private key, in PEM, not encrypted. Needed with a certificate."
    )


class Listen(Settings):
    """Where callers reach the gateway, who may, and how patient it is with them."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    keys_file: File | None = Field(
        None,
        description="File with the keys of those who may call; it is read again on a reload. "
        "Default: none; whoever reaches the gateway may call.",
    )
    open: bool = Field(
        False,  # noqa: FBT003 - a default, not an argument
        description="Whether to listen beyond this machine without `keys_file`, for whoever reaches the address.",
    )
    tls: Tls = Field(Tls(), description="The certificate of the gateway, for HTTPS.")
    body_timeout_seconds: Seconds = Field(
        60, description="How long a caller may take to send a body before it is refused with 408."
    )
    header_timeout_seconds: Seconds = Field(
        10, description="How long the head of a request may take from its first byte on, and a new connection to it."
    )
    stall_timeout_seconds: Seconds = Field(
        60, description="How long a caller may take nothing of an answer before its connection is cut off."
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="How many connections may be open; then the one that idles longest makes room, or 503 is answered.",
    )
    max_buffered_bytes: int = Field(
        536_870_912,
        ge=0,
        le=1_099_511_627_776,
        description="How much memory the bodies of all callers together may take; one more is refused with 429.",
    )
    join_retries: bool = Field(
        default=True,
        description="Whether the retries of an AWS SDK join the call of its first attempt, in place of running the "
        "model again.",
    )
    keepalive_seconds: Seconds = Field(75, description="How long an idle connection of a caller is kept open.")


class Admin(Settings):
    """An address of their own for `/livez`, `/readyz`, `/metrics` and `/status`."""

    host: Host | None = Field(None, description="Address to listen on. Default: `listen.host`.")
    port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port to listen on; 0 takes a free one. Default: none; these paths are answered where callers are.",
    )


class Aws(Settings):
    """Which AWS the endpoints live in. Credentials never stand here: the AWS chain finds them."""

    region: Region = Field(description="AWS region of the endpoints that name none of their own.")
    endpoint_url: Url | None = Field(
        None, description="Base URL of the SageMaker Runtime API, where it is not AWS's own."
    )
    control_endpoint_url: Url | None = Field(
        None, description="Base URL of the SageMaker control plane (`Describe*`), where it is not AWS's own."
    )
    use_fips_endpoint: bool | None = Field(
        None,
        description="Whether hosts of AWS are those validated for FIPS 140. "
        "Default: as AWS SDKs, by `AWS_USE_FIPS_ENDPOINT` or the profile.",
    )
    use_dualstack_endpoint: bool | None = Field(
        None,
        description="Whether hosts of AWS are those that speak IPv6 too. "
        "Default: as AWS SDKs, by `AWS_USE_DUALSTACK_ENDPOINT` or the profile.",
    )
    refresh_seconds: float = Field(
        30,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="How often the fleet of an endpoint with `instances: auto` is read, about.",
    )


class Drain(Settings):
    """How the gateway goes away after SIGTERM."""

    delay_seconds: float = Field(
        0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="How long `/readyz` says 503 while calls are still taken, so that load balancers can look away.",
    )
    timeout_seconds: Seconds = Field(
        75, description="How long waiting and running calls may take to finish before they are cut off."
    )


class Log(Settings):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged; the line for each request is `info`."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json`, `console` for people, or `auto`: console on a terminal, else JSON."
    )


class Queue(Settings):
    """The bounds of waiting for a permit of one endpoint."""

    max_waiting: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="How many callers of one route may wait; one more is refused with 429 at once.",
    )
    timeout_seconds: Seconds = Field(
        30,
        description="How long a caller may wait before it is refused with 429. Keep it, plus the time of an "
        "inference, under the read timeout of your callers (60 s in AWS SDKs).",
    )


class Endpoint(Settings):
    """One SageMaker endpoint and the room that it has."""

    endpoint_name: Name | None = Field(None, description="SageMaker's name of the endpoint. Default: the key.")
    inference_component: Name | None = Field(
        None, description="The inference component that all calls of this entry go to."
    )
    target_variant: Name | None = Field(
        None,
        description="The production variant that all calls of this entry go to. Default: as the weights deal them.",
    )
    region: Region | None = Field(None, description="AWS region of the endpoint. Default: `aws.region`.")
    profile: Annotated[str, Field(min_length=1, json_schema_extra=in_words("the name of a profile"))] | None = Field(
        None,
        description="Profile of the AWS config file that signs the calls. Default: the AWS chain decides.",
    )
    role_arn: RoleArn | None = Field(
        None, description="IAM role that is assumed to sign the calls, for an endpoint of another account."
    )
    endpoint_url: Url | None = Field(
        None, description="Base URL of the SageMaker Runtime API for this endpoint. Default: `aws.endpoint_url`."
    )
    control_endpoint_url: Url | None = Field(
        None, description="Base URL of the control plane for this endpoint. Default: `aws.control_endpoint_url`."
    )
    instances: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="How many instances serve the endpoint; `auto` follows the fleet through DescribeEndpoint."
    )
    concurrency_per_instance: int = Field(
        1, ge=1, le=10_000, description="How many calls one instance does at a time. No AWS field tells it."
    )
    queue: Queue = Field(Queue(), description="The bounds of waiting.")
    timeout_seconds: Seconds = Field(
        70, description="How long a whole call may take before it is given up with 424. SageMaker's own limit is 60."
    )
    stream_timeout_seconds: Seconds = Field(
        490, description="How long a whole streamed answer may take before it is cut off. SageMaker's own limit is 480."
    )
    cooldown_seconds: float = Field(
        0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="How much longer a permit is kept when a call was given up and its model may still run.",
    )
    max_body_bytes: int = Field(
        26_214_400,
        ge=0,
        le=1_073_741_824,
        description="Longest request body; a longer one is refused with 413. SageMaker's limit for real-time requests.",
    )
    max_response_bytes: int = Field(
        33_554_432, ge=0, le=1_073_741_824, description="Longest answer that is read; a longer one ends with 424."
    )

    @property
    def capacity(self) -> int | None:
        """How many calls may run at once: instances times concurrency; None where the fleet decides (`auto`)."""
        return None if self.instances == "auto" else self.instances * self.concurrency_per_instance

    @property
    def fixed_headers(self) -> dict[str, str]:
        """Headers of SageMaker's that all calls of this entry have, by name."""
        fixed = {
            "X-Amzn-SageMaker-Inference-Component": self.inference_component,
            "X-Amzn-SageMaker-Target-Variant": self.target_variant,
        }
        return {name: value for name, value in fixed.items() if value is not None}


EndpointKey = Annotated[str, Field(json_schema_extra=in_words("a key of endpoints"))]


class Target(Settings):
    """One endpoint that a route leads to."""

    endpoint: EndpointKey = Field(description="A key of `endpoints`.")
    weight: int = Field(
        1,
        ge=0,
        le=1_000_000,
        description="Share of the calls while several targets have room, beside their weights; 0 gives it none.",
    )


class Route(Settings):
    """A name, and perhaps a path, that callers use."""

    path: RoutePath | None = Field(
        None, description="A path of its own for plain HTTP callers, beside `/endpoints/{name}/invocations`."
    )
    targets: tuple[Target, ...] = Field(
        min_length=1,
        strict=False,  # YAML has lists only
        description="The endpoints that the route leads to. Where several have room, weights decide; else the one "
        "that has room first.",
    )
    fallback: tuple[EndpointKey, ...] = Field(
        (),
        strict=False,
        description="Keys of `endpoints` that are asked in order where no model of the targets saw the call.",
        json_schema_extra={"uniqueItems": True},
    )


class Config(Settings):
    """The whole config file of the gateway in front of SageMaker endpoints."""

    model_config = ConfigDict(title="sagemaker-gateway config")

    listen: Listen = Field(Listen(), description="Where callers reach the gateway.")
    admin: Admin = Field(Admin(), description="Where operators reach the gateway.")
    aws: Aws = Field(description="Which AWS the endpoints live in.")
    drain: Drain = Field(Drain(), description="How the gateway goes away after SIGTERM.")
    log: Log = Field(Log(), description="What is logged.")
    endpoints: Annotated[Mapping[Name, Endpoint], Field(min_length=1)] = Field(
        description="The SageMaker endpoints, by a name of your choice.",
        json_schema_extra={"additionalProperties": False},
    )
    routes: Mapping[Name, Route] = Field(
        {}, description="Names and paths that lead to endpoints.", json_schema_extra={"additionalProperties": False}
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := conflicts(self.model_dump()):
            raise PydanticCustomError(CONFLICT, "{conflicts}", {"conflicts": "; ".join(map(str, found))})
        return self

    def endpoint_name(self, key: str) -> str:
        """SageMaker's name of the endpoint that stands under `key`: its `endpoint_name`, else the key itself.

        Raises:
            KeyError: no endpoint stands under `key`.
        """
        return self.endpoints[key].endpoint_name or key
