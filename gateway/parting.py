"""Endpoints that have left the config, shown beside the others until none of their callers is left."""

from collections.abc import Callable, Mapping
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from gateway.endpoint import Endpoint

LOOK_SECONDS = 0.5
"""How often it is seen whether an endpoint that was removed has become idle."""


class Timer(Protocol):
    """Something that is going to happen."""

    def cancel(self) -> None:
        """Let it not happen."""


class Parting:
    """Which endpoints operators see.

    Args:
        show: is told of all of them, whenever these are others than before.
        later: has something happen so many seconds later.
        log: is told when the last call of a removed one is over.
        tell: has the log told of that call, and of others that are over.
    """

    def __init__(
        self,
        show: Callable[[Mapping[str, Endpoint]], None],
        later: Callable[[float, Callable[[], None]], Timer],
        log: FilteringBoundLogger,
        *,
        tell: Callable[[], None],
    ) -> None:
        self._show = show
        self._later = later
        self._log = log
        self._tell = tell
        self._here: Mapping[str, Endpoint] = {}
        self._leaving: dict[str, Endpoint] = {}
        self._timer: Timer | None = None

    def replace(self, here: Mapping[str, Endpoint], removed: Mapping[str, Endpoint]) -> None:
        """From now on these are in the config, and those leave it."""
        self._here = here
        self._leaving = {name: each for name, each in {**self._leaving, **removed}.items() if name not in here}
        self._let_go()
        self._show({**self._here, **self._leaving})

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._let_go():
            self._show({**self._here, **self._leaving})

    def _let_go(self) -> bool:
        """Forget who has become idle; whether there was somebody."""
        idle = [name for name, endpoint in self._leaving.items() if _is_idle(endpoint)]
        if idle:
            self._tell()
        for name in idle:
            del self._leaving[name]
            self._log.info("endpoint_drained", endpoint=name)
        if self._leaving and self._timer is None:
            self._timer = self._later(LOOK_SECONDS, self._look)
        return bool(idle)


def _is_idle(endpoint: Endpoint) -> bool:
    now = endpoint.limiter.statistics()
    return not (now.running or now.cooling or now.waiting)
