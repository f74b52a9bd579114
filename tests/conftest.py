"""What every test gets: an AWS environment of its own, and stands of a gateway in front of the emulator."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.environment import own_environment
from tests.stand import MakeStand, Stand, StandSettings, open_stand

# Shared machines are slow now and then, which is not what these tests are about.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees credentials or settings of the person who runs it, and none asks the network for them."""
    own_environment(monkeypatch)


@pytest.fixture
async def make_stand() -> AsyncIterator[MakeStand]:
    """Makes stands, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def make(settings: StandSettings) -> Stand:
            return await stack.enter_async_context(open_stand(settings))

        yield make
