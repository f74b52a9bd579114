"""The first link of the AWS credential chain: the environment. With nothing else asked, aiobotocore is not needed.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

_OTHERS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION")
"""Where one of them is set, the rest of the chain may have a say."""


@dataclass(slots=True)
class StaticKeys:
    """Keys that do not expire, as botocore gives them out."""

    access_key: str
    secret_key: str
    token: str | None

    async def get_frozen_credentials(self) -> "StaticKeys":
        """Themselves."""
        return self


def keys_in(environment: Mapping[str, str]) -> StaticKeys | None:
    """What botocore would find there; None where that takes the whole chain."""
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or any(name in environment for name in _OTHERS):
        return None
    token = environment.get("AWS_SECURITY_TOKEN") or environment.get("AWS_SESSION_TOKEN")
    return StaticKeys(access_key, secret_key, token or None)
