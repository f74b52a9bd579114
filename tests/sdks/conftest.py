"""What every test of SDKs gets: one SDK after the other."""

import pytest

from tests.sdks.clients import SDKS, OpenSdk


@pytest.fixture(params=SDKS.values(), ids=tuple(SDKS))
def open_sdk(request: pytest.FixtureRequest) -> OpenSdk:
    """Opens clients of the SDK at hand."""
    opener: OpenSdk = request.param
    return opener


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDKs decide on retries as ever, but do not wait before them (up to 15 s in all)."""
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda **_: 0.0)
