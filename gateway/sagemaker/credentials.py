"""Credentials of one identity, refreshed ahead of their expiry in the background, and at once where AWS rejects them.

Where they come from (environment, profile, container, instance role, an assumed role) is the chain's business:
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Protocol, runtime_checkable

from botocore.exceptions import ClientError, CredentialRetrievalError
from structlog.typing import FilteringBoundLogger

from gateway.errors import keyless
from gateway.sagemaker.signing import Credentials

CHECK_SECONDS = 30.0
"""How often the chain is asked whether a refresh is due. botocore's advisory window is the last 15 minutes before
expiry, so some 30 tries fit into it."""

ATTEMPT_SECONDS = 30.0
"""How long the chain may take. A role that does not answer must not keep the next try waiting."""

FIRST_SECONDS = 5.0
"""How long the start waits for the chain; after that the gateway is up, and not ready."""

RETRY_SECONDS = 2.0
"""How long to wait after the chain found nothing, failed with nothing usable at hand, or had only rejected keys."""

REJECTED_SECONDS = 30.0
"""How long keys that AWS has rejected are not used. It may have been a slip, so that they are tried again then."""

DEFAULT = "default"
"""The name of the identity that signs where a config names neither profile nor role."""

_NOT_ACCEPTED = "AWS does not accept them, and the AWS credential chain has no others"


LAST_SECONDS = 1.0
"""How long a renewal that is under way may go on when the gateway ends."""


class FrozenKeys(Protocol):
    """What botocore gives out: one consistent set of keys."""

    access_key: str
    secret_key: str
    token: str | None


class Provider(Protocol):
    """botocore's credential object, temporary or static."""

    async def get_frozen_credentials(self) -> FrozenKeys:
        """The keys; temporary ones are refreshed first when that is due."""


@runtime_checkable
class Temporary(Provider, Protocol):
    """One whose keys expire."""

    def refresh_needed(self, refresh_in: float) -> bool:
        """Whether so many seconds or fewer are left."""


Load = Callable[[], Awaitable[Provider | None]]
"""Runs a chain from its start: files are read and roles assumed anew. None where it finds nothing."""


class CredentialSource:
    """The credentials of now, for whoever signs.

    Args:
        load: runs the chain.
        log: where failures are told.
        name: whose credentials these are, for operators; it shows no account.
        clock: seconds that only grow.

    Attributes:
        name: as above.
        asked: set once the chain has answered, whatever it said.
    """

    def __init__(
        self, load: Load, log: FilteringBoundLogger, *, name: str = DEFAULT, clock: Callable[[], float] = monotonic
    ) -> None:
        self._load = load
        self._log = log.bind(identity=name)
        self._clock = clock
        self._provider: Provider | None = None  # whose keys the current ones are
        self._temporary: Temporary | None = None  # the same if its keys expire: found out once
        self._current: Credentials | None = None
        self._problem = "not loaded yet"
        self._failed = False  # the last attempt brought no usable keys
        self._rejected: tuple[Credentials, float] | None = None  # which keys, until when
        self._rejection = asyncio.Event()
        self._chain = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None
        self._condemned = False  # where the renewal that is under way brings no others, these are not used
        self._doubted_until = 0.0
        self.name = name
        self.asked = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why there are no usable credentials; None where there are."""
        if self._current is None:
            return self._problem
        if self._expired():
            return "they have expired, and could not be refreshed"
        return _NOT_ACCEPTED if self._is_rejected() else None

    def current(self) -> Credentials:
        """The credentials to sign with; never waits.

        Raises:
            Refusal: there are none, they have expired and could not be refreshed, or AWS does not accept them.
        """
        if self._current is None or self._expired() or self._is_rejected():
            raise keyless()
        return self._current

    async def renew(self, rejected: Credentials) -> Credentials:
        """Others than those that AWS has rejected.

        However many ask for them, the chain is run once. Where it has no others, nobody asks it again for
        `REJECTED_SECONDS` but the background.

        Raises:
            Refusal: there are no others.
        """
        if self._current == rejected and not self._is_rejected():
            self._condemned = True
            await self._replace(rejected)
        return self.current()

    async def doubt(self, refused: Credentials) -> None:
        """Ask the chain for others than those that the control plane has refused, at most once in `REJECTED_SECONDS`.

        Where it has no others, calls go on with these: it is for SageMaker's runtime to say whether it takes them.
        """
        if self._current == refused and not self._is_rejected() and self._clock() >= self._doubted_until:
            self._doubted_until = self._clock() + REJECTED_SECONDS
            await self._replace(refused)

    def reject(self, credentials: Credentials) -> None:
        """AWS does not accept these credentials: if they are the current ones, they are not used for a while."""
        if self._current != credentials or self._is_rejected():
            return
        self._rejected = (credentials, self._clock() + REJECTED_SECONDS)
        self._rejection.set()
        self._log.error("credentials_unusable", problem=_NOT_ACCEPTED, access_key_id=credentials.access_key_id)

    async def refresh(self) -> None:
        """Ask the chain for keys, and remember them, or why there are none. Where somebody asks already, join in."""
        if self._renewal is not None:
            await asyncio.wait((self._renewal,))
            return
        async with self._chain:
            await self._ask(anew=self._failed or self._is_rejected())

    async def keep_fresh(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            self.asked.set()
            self._rejection.clear()
            if self.problem is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await self._rejection.wait()
            if self.problem is not None:
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """End what runs on behalf of callers; a program of the chain gets a moment to end by itself."""
        if self._renewal is not None:
            await asyncio.wait((self._renewal,), timeout=LAST_SECONDS)
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait((self._renewal,))

    async def _replace(self, refused: Credentials) -> None:
        """One run of the chain for all who ask; whoever leaves takes nothing from the others."""
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(refused), name=f"renew credentials of {self.name}")
        await asyncio.wait((self._renewal,))

    async def _renew(self, refused: Credentials) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ATTEMPT_SECONDS), self._chain:
                    if self._current == refused:  # the background may have brought others while this one waited
                        await self._ask(anew=True)
        finally:
            if self._condemned:
                self.reject(refused)
            self._renewal, self._condemned = None, False

    async def _ask(self, *, anew: bool) -> None:
        """One attempt.

        Args:
            anew: from the start of the chain, since a refresh would only repeat what has failed.
        """
        provider = None if anew else self._provider
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                provider = provider or await self._load()
                keys = await provider.get_frozen_credentials() if provider else None
        # The chain runs other people's plug-ins and processes: whatever they raise is a failed refresh.
        except Exception as error:  # noqa: BLE001
            # Only the kind of failure is told to whoever asks: its text may hold accounts, and what a program of the
            # chain has printed, so that one is not even logged.
            detail = "" if isinstance(error, CredentialRetrievalError) else str(error)
            self._keep_or_forget(f"the AWS credential chain failed with {_kind(error)}", detail)
            return
        if provider is None or keys is None:
            self._keep_or_forget("the AWS credential chain found none: set AWS_ACCESS_KEY_ID, a profile or a role")
        elif unusable := _unusable(keys):
            self._forget(unusable)
        else:
            self._accept(provider, Credentials(keys.access_key, keys.secret_key, keys.token or None))

    def _accept(self, provider: Provider, credentials: Credentials) -> None:
        if credentials != self._current:
            self._log.info("credentials_loaded", access_key_id=credentials.access_key_id)
        self._provider, self._current, self._failed = provider, credentials, False
        self._temporary = provider if isinstance(provider, Temporary) else None

    def _keep_or_forget(self, problem: str, detail: str = "") -> None:
        """The chain gives up 10 minutes before expiry; until then the keys at hand go on working."""
        if self._current is None or self._expired() or self._temporary is None:
            self._forget(problem, detail)
        else:
            self._failed = True
            self._log.warning("credentials_refresh_failed", problem=problem, detail=detail)

    def _forget(self, problem: str, detail: str = "") -> None:
        if self._current is not None or problem != self._problem:
            self._log.error("credentials_unusable", problem=problem, detail=detail)
        self._problem, self._failed = problem, True
        self._provider = self._temporary = self._current = None

    def _expired(self) -> bool:
        return self._temporary is not None and self._temporary.refresh_needed(refresh_in=0)

    def _is_rejected(self) -> bool:
        if self._rejected is None:
            return False
        credentials, until = self._rejected
        return self._current == credentials and self._clock() < until


def _kind(error: Exception) -> str:
    """The name of a failure; of an answer of AWS its code, which tells more than the name and no account."""
    name = type(error).__name__
    code = str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
    return f"{name} ({code})" if re.fullmatch(r"[A-Za-z][A-Za-z.]{0,63}", code) else name


def _unusable(keys: FrozenKeys) -> str | None:
    """What is wrong with keys that no request could carry: a line break in a token would add headers of its own."""
    fields = {"access key id": keys.access_key, "session token": keys.token or "-"}
    for name, value in fields.items():
        if not value or not all("!" <= letter <= "~" for letter in value):
            return f"the {name} is empty or holds a character that no header may hold, such as a line break"
    return None if keys.secret_key else "the secret access key is empty"


@asynccontextmanager
async def kept_fresh(sources: Collection[CredentialSource]) -> AsyncIterator[None]:
    """All of them asked at once, and kept fresh until the end; each has keys from the start, if its chain is quick."""
    tasks = [
        asyncio.create_task(source.keep_fresh(), name=f"keep credentials of {source.name} fresh") for source in sources
    ]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                for source in sources:
                    await source.asked.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(source.close() for source in sources), return_exceptions=True)
