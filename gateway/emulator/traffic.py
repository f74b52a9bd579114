"""Which fleet of an endpoint gets a call, and in a session which instance: by the caller's headers, or by weight."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from gateway.emulator.deployment import Deployment
from gateway.emulator.headers import INFERENCE_COMPONENT, SESSION_ID, TARGET_VARIANT
from gateway.emulator.instance import Instance
from gateway.emulator.ledger import Call
from gateway.emulator.refusals import RefusedError, component_missing, component_not_allowed, invalid
from gateway.emulator.sessions import Sessions
from gateway.emulator.work import Work

ASKS_FOR_SESSION = "NEW_SESSION"


class Destination(NamedTuple):
    """Where a call goes: to a fleet, or to one instance of it."""

    deployment: Deployment
    instance: Instance | None = None

    def submit(self, call: Call, work: Work) -> Instance:
        """Give the call to an instance, and tell which it is.

        Raises:
            NoCapacityError: There is none.
        """
        if self.instance is None:
            return self.deployment.submit(call, work)
        self.deployment.ledger.in_session(call)
        self.instance.submit(call, work)
        return self.instance


class Traffic:
    """The fleets of one endpoint: its variants, or where it has any its inference components.

    Args:
        endpoint: Its name.
        deployments: By the name of the variant or component.
        sessions: Those of this endpoint.
        has_components: Whether they are inference components.
        chance: Deals the calls that name no variant.
    """

    def __init__(
        self,
        endpoint: str,
        deployments: Mapping[str, Deployment],
        *,
        sessions: Sessions,
        has_components: bool,
        chance: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._deployments = deployments
        self._sessions = sessions
        self._has_components = has_components
        self._chance = chance

    def direct(self, headers: Mapping[str, str]) -> Destination:
        """Where a call goes by its headers.

        Raises:
            RefusedError: They name what is not there, or not what they must.
        """
        component, variant = headers.get(INFERENCE_COMPONENT), headers.get(TARGET_VARIANT)
        among = self._components(component) if self._has_components else self._variants(component)
        if variant is not None:
            among = [each for each in among if each.plan.variant == variant]
        if not among:
            raise RefusedError(invalid(f"Variant {variant} not found for endpoint {self._endpoint}."))
        session = headers.get(SESSION_ID, ASKS_FOR_SESSION)
        if session != ASKS_FOR_SESSION:
            return self._at_home(session, among)
        if len(among) == 1:
            return Destination(among[0])
        (dealt,) = self._chance.choices(among, [each.plan.weight for each in among])
        return Destination(dealt)

    def _components(self, component: str | None) -> list[Deployment]:
        if component is None:
            raise RefusedError(component_missing())
        if component not in self._deployments:
            message = f"Inference Component {component} not found for endpoint {self._endpoint}."
            raise RefusedError(invalid(message))
        return [self._deployments[component]]

    def _variants(self, component: str | None) -> list[Deployment]:
        if component is not None:
            raise RefusedError(component_not_allowed())
        return list(self._deployments.values())

    def _at_home(self, session: str, among: list[Deployment]) -> Destination:
        seat = self._sessions.find(session)
        if seat is None or seat.deployment not in among:
            message = f"Session {session} not found for endpoint {self._endpoint}: it is unknown, closed or expired."
            raise RefusedError(invalid(message))
        return Destination(seat.deployment, seat.instance)
