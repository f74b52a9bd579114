"""Credentials from the AWS chain, refreshed in the background ahead of their expiry, never inside a caller's request.

The chain (environment, profile, container, instance role) is aiobotocore's:
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from aiobotocore.session import AioSession
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError
from structlog.typing import FilteringBoundLogger

from gateway.errors import CREDENTIALS, Refusal
from gateway.sagemaker.signing import Credentials

CHECK_SECONDS = 30.0
"""How often the chain is asked whether a refresh is due. botocore's advisory window is the last 15 minutes before
expiry, so some 30 tries fit into it."""

ATTEMPT_SECONDS = 30.0
"""How long the chain may take. A role that does not answer must not keep the next try waiting."""

FIRST_SECONDS = 5.0
"""How long the start waits for the chain; after that the gateway is up, and not ready."""

RETRY_SECONDS = 2.0
"""How long to wait after the chain found nothing, or failed with nothing usable at hand."""


class FrozenKeys(Protocol):
    """What botocore gives out: one consistent set of keys."""

    access_key: str
    secret_key: str
    token: str | None


class Provider(Protocol):
    """botocore's credential object, temporary or static."""

    async def get_frozen_credentials(self) -> FrozenKeys:
        """The keys; temporary ones are refreshed first when that is due."""


class CredentialSource:
    """The credentials of now, for whoever signs.

    Args:
        load: runs the chain; None where it finds nothing.
        log: where failures are told.
    """

    def __init__(self, load: Callable[[], Awaitable[Provider | None]], log: FilteringBoundLogger) -> None:
        self._load = load
        self._log = log
        self._provider: Provider | None = None
        self._current: Credentials | None = None
        self._problem = "not loaded yet"
        self.asked = asyncio.Event()
        """Set once the chain has answered, whatever it said."""

    @property
    def problem(self) -> str | None:
        """Why there are no usable credentials; None where there are."""
        if self._current is None:
            return self._problem
        return "they have expired, and could not be refreshed" if self._expired() else None

    def current(self) -> Credentials:
        """The credentials to sign with; never waits.

        Raises:
            Refusal: there are none, or they have expired and could not be refreshed.
        """
        if self._current is None or self._expired():
            raise Refusal(
                CREDENTIALS, "The gateway has no usable AWS credentials. The call was not sent; its operators see why."
            )
        return self._current

    async def refresh(self) -> None:
        """Ask the chain for keys, and remember them, or why there are none."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                self._provider = self._provider or await self._load()
                keys = await self._provider.get_frozen_credentials() if self._provider else None
        # The chain runs other people's plug-ins and processes: whatever they raise is a failed refresh.
        except Exception as error:  # noqa: BLE001
            self._keep_or_forget(error)
            return
        if keys is None:
            self._forget("the AWS credential chain found none: set AWS_ACCESS_KEY_ID, a profile or a role")
        elif unusable := _unusable(keys):
            self._provider = None  # a file may be mended: look again from the start
            self._forget(unusable)
        else:
            self._accept(Credentials(keys.access_key, keys.secret_key, keys.token or None))

    async def keep_fresh(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            self.asked.set()
            await asyncio.sleep(RETRY_SECONDS if self._current is None else CHECK_SECONDS)

    def _accept(self, credentials: Credentials) -> None:
        if credentials != self._current:
            self._log.info("credentials_loaded", access_key_id=credentials.access_key_id)
        self._current = credentials

    def _keep_or_forget(self, error: Exception) -> None:
        """The chain gives up 10 minutes before expiry; until then the keys at hand go on working.

        Only the kind of failure is told to whoever asks: its text may hold what a program of the chain has printed,
        so that one is not even logged.
        """
        kind = type(error).__name__
        detail = "" if isinstance(error, CredentialRetrievalError) else str(error)
        problem = f"the AWS credential chain failed with {kind}"
        if self._current is None or self._expired() or not isinstance(self._provider, RefreshableCredentials):
            self._forget(problem, detail)
        else:
            self._log.warning("credentials_refresh_failed", problem=problem, detail=detail)

    def _forget(self, problem: str, detail: str = "") -> None:
        if self._current is not None or problem != self._problem:
            self._log.error("credentials_unusable", problem=problem, detail=detail)
        self._problem = problem
        self._current = None

    def _expired(self) -> bool:
        provider = self._provider
        return isinstance(provider, RefreshableCredentials) and bool(provider.refresh_needed(refresh_in=0))


def _unusable(keys: FrozenKeys) -> str | None:
    """What is wrong with keys that no request could carry: a line break in a token would add headers of its own."""
    fields = {"access key id": keys.access_key, "session token": keys.token or "-"}
    for name, value in fields.items():
        if not value or not all("!" <= letter <= "~" for letter in value):
            return f"the {name} is empty or holds a character that no header may hold, such as a line break"
    return None if keys.secret_key else "the secret access key is empty"


@asynccontextmanager
async def open_credentials(log: FilteringBoundLogger) -> AsyncIterator[CredentialSource]:
    """The process's credentials, kept fresh until the end; there are some from the start, if the chain is quick."""
    session = AioSession()
    source = CredentialSource(session.get_credentials, log)
    task = asyncio.create_task(source.keep_fresh(), name="keep credentials fresh")
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await source.asked.wait()
        yield source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
