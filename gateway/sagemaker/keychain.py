"""The gateway's own credentials in the form in which aiobotocore asks for them, whoever refreshes them."""

from collections.abc import Callable

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials

from gateway.sagemaker.signing import Credentials


class _Keys(AioCredentials):  # type: ignore[misc] # aiobotocore has no types
    """Those of the moment, for each request."""

    def __init__(self, keys: Callable[[], Credentials]) -> None:
        super().__init__("asked", "for each request", method="gateway")
        self._keys = keys

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        keys = self._keys()
        return ReadOnlyCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)


class Keychain:
    """The way on which aiobotocore finds them, in place of AWS's own chain.

    Args:
        keys: what to sign with, asked for each request; it may raise a Refusal.
    """

    def __init__(self, keys: Callable[[], Credentials]) -> None:
        self._keys = keys

    async def load_credentials(self) -> _Keys:
        """What is asked for each request."""
        return _Keys(self._keys)
