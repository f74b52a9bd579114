"""An environment of our own, of AWS and of proxies, for whatever runs a gateway in its own process."""

import os

import pytest

from tests.stand import ACCESS_KEY_ID, SECRET_ACCESS_KEY


def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the emulator's keys, and nothing of the person who runs this; nobody asks the network for others."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
