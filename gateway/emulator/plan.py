"""Which fleets an endpoint's settings ask for: one for each variant or inference component, and what each is like."""

from dataclasses import dataclass
from typing import TypeVar

from gateway.emulator.settings import (
    ALL_TRAFFIC,
    ComponentSettings,
    EndpointSettings,
    FleetSettings,
    ServerlessSettings,
    VariantSettings,
)

KINDS = {"model", "command", "environment", "url"}
"""Together they say what an instance is; one of them in a variant or component stands for all of them."""

Part = TypeVar("Part", VariantSettings, ComponentSettings)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet of like instances behind a name: a production variant or an inference component.

    Attributes:
        name: The endpoint's name if there is nothing else at it, or else `endpoint/variant` or `endpoint/component`.
        place: Where in the settings it stands, for messages.
        variant: The production variant that it is, or that it runs on.
        size: How many instances it has at the start.
        settings: What they are like.
        max_body_bytes: The largest answer of an instance.
        weight: Its share of the calls that name no fleet.
        serverless: Its limit, if it is serverless; then there is an instance for each call that it allows at once.
    """

    name: str
    place: str
    variant: str
    size: int
    settings: FleetSettings
    max_body_bytes: int
    weight: float = 1.0
    serverless: ServerlessSettings | None = None

    @property
    def concurrency(self) -> int:
        """How many calls an instance works on at a time."""
        return 1 if self.serverless is not None else self.settings.concurrency_per_instance


def variants_of(settings: EndpointSettings) -> dict[str, VariantSettings]:
    """The production variants of an endpoint by name, with what they have from it filled in."""
    alone = VariantSettings.model_construct(instances=settings.instances, serverless=settings.serverless)
    variants = settings.variants or {ALL_TRAFFIC: alone}
    return {name: _filled_in(variant, settings) for name, variant in variants.items()}


def fleets_of(endpoint: str, settings: EndpointSettings) -> dict[str, FleetPlan]:
    """The fleets of an endpoint by the name of the variant or component."""
    if settings.inference_components:
        return {
            name: FleetPlan(
                name=f"{endpoint}/{name}",
                place=f"endpoints.{endpoint}.inference_components.{name}",
                variant=component.variant,
                size=component.copies,
                settings=_filled_in(component, settings),
                max_body_bytes=settings.max_body_bytes,
            )
            for name, component in settings.inference_components.items()
        }
    return {
        name: FleetPlan(
            name=f"{endpoint}/{name}" if settings.variants else endpoint,
            place=f"endpoints.{endpoint}.variants.{name}" if settings.variants else f"endpoints.{endpoint}",
            variant=name,
            size=variant.serverless.max_concurrency if variant.serverless else variant.instances,
            settings=variant,
            max_body_bytes=settings.max_body_bytes,
            weight=variant.weight,
            serverless=variant.serverless,
        )
        for name, variant in variants_of(settings).items()
    }


def _filled_in(part: Part, endpoint: EndpointSettings) -> Part:
    """A variant or component, with the settings of a fleet that only its endpoint gives."""
    inherited = (endpoint.model_fields_set & FleetSettings.model_fields.keys()) - part.model_fields_set
    if part.model_fields_set & KINDS:
        inherited -= KINDS
    return part.model_copy(update={key: getattr(endpoint, key) for key in inherited})
