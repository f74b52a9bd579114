"""Who calls, and whether they may: decided from headers, route and the body's digest alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from time import time

from multidict import MultiMapping

from gateway.config.keys import Key, Keys
from gateway.errors import DENIED, Refusal
from gateway.sagemaker.verifying import ALGORITHM, Claim, ClaimError, is_signed, read_claim

_WAYS = "Authorization: Bearer KEY, x-api-key: KEY, or a signature of AWS with a key pair of the gateway's"
_STRANGER = "The access key is not known to this gateway: it is mistyped, or was replaced."
_MISMATCH = (
    "The signature does not match the request: it was made with another secret, or something has changed on the way."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, or says so.

    Attributes:
        name: what the keys file calls them; None where there are no keys.
        proven: whether it is certain; a signature is so only once the body is there.
    """

    name: str | None
    proven: bool
    _key: Key | None = field(default=None, repr=False)
    _claim: Claim | None = field(default=None, repr=False)

    def check_route(self, route: str) -> None:
        """Return where the key may be used for a route, or for an endpoint called directly.

        Raises:
            Refusal: it may not. This is only for a caller who is proven: a signature is checked before.
        """
        if self._key is not None and not self._key.opens(route):
            raise Refusal(DENIED, f"The key of {self.name} may not be used for {route}.")

    def check_signature(self, *, method: str, target: str, headers: MultiMapping[str], body_sha256: str) -> None:
        """Return where nothing was signed, or this very request was.

        Args:
            method: the HTTP method.
            target: path and query as they stood in the request line.
            headers: all headers as they came.
            body_sha256: SHA-256 of the body as it came, in lower-case hexadecimal.

        Raises:
            Refusal: something else was signed, or with another secret.
        """
        if self._claim is None or self._key is None:
            return
        secret = self._key.secret_access_key or ""
        if not is_signed(self._claim, secret, method=method, target=target, headers=headers, body_sha256=body_sha256):
            raise Refusal(DENIED, _MISMATCH)


_ANYBODY = Caller(None, proven=True)


class Callers:
    """All who may call.

    Keys are compared by their SHA-256. Nothing slower is needed, because keys are random and long: nobody can try them
    all, nor has a table of their digests. And how long a look-up takes tells nothing, because nobody can choose what
    the digest of a guess begins with.

    Args:
        keys: theirs; None where anybody may call.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: Keys | None, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self.replace(keys)

    def replace(self, keys: Keys | None) -> None:
        """From now on these are the keys; callers who have been identified stay so."""
        entries = keys.keys if keys is not None else ()
        self._open = keys is None
        self._by_digest = {bytes.fromhex(key.key_sha256): key for key in entries if key.key_sha256 is not None}
        self._by_id = {key.access_key_id: key for key in entries if key.access_key_id is not None}

    def identify(self, headers: MultiMapping[str]) -> Caller:
        """Who calls, as far as headers tell.

        `x-api-key` goes before `Authorization`, because an SDK signs whether its keys mean something here or not.

        Raises:
            Refusal: there is no key, more than one, or one that is not known; or a signature that cannot be right.
        """
        if self._open:
            return _ANYBODY
        name = "x-api-key" if "x-api-key" in headers else "Authorization"
        values = headers.getall(name, ())
        if not values:
            raise Refusal(DENIED, f"This gateway asks callers who they are: send {_WAYS}.")
        if len(values) > 1:
            raise Refusal(DENIED, f"{name} stands there more than once.")
        if name == "x-api-key":
            return self._holder_of(values[0])
        scheme, _, rest = values[0].partition(" ")
        if scheme.lower() == "bearer":
            return self._holder_of(rest.strip())
        if scheme != ALGORITHM:
            raise Refusal(DENIED, f"Authorization is of a kind that is not taken here: send {_WAYS}.")
        return self._signer_of(headers)

    def _holder_of(self, secret: str) -> Caller:
        key = self._by_digest.get(sha256(secret.encode(errors="surrogateescape")).digest())
        if key is None:
            raise Refusal(DENIED, "The key is not known to this gateway: it is mistyped, or was replaced.")
        return Caller(key.name, proven=True, _key=key)

    def _signer_of(self, headers: MultiMapping[str]) -> Caller:
        try:
            claim = read_claim(headers, self._clock())
        except ClaimError as error:
            raise Refusal(DENIED, str(error)) from None
        key = self._by_id.get(claim.access_key_id)
        if key is None:
            raise Refusal(DENIED, _STRANGER)
        return Caller(key.name, proven=False, _key=key, _claim=claim)
