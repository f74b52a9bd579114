"""Whether a request is signed rightly, told by the emulator's verifier, from the bytes as they came."""

from datetime import UTC, datetime

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.emulator.refusals import RefusedError
from gateway.emulator.settings import CredentialSettings
from gateway.emulator.signatures import SignedRequest, Verifier, sha256_of

from .processes import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

SKEW_SECONDS = 300


class Proof:
    """Knows the bench's key, and judges requests by it."""

    def __init__(self) -> None:
        pair = CredentialSettings(access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY)
        self._verifier = Verifier(
            [pair], region=REGION, skew_seconds=SKEW_SECONDS, wall_clock=lambda: datetime.now(UTC)
        )

    def problem(self, head: bytes, body: bytes) -> str | None:
        """What is wrong with the signature; None if it is right.

        Args:
            head: request line and headers, as they came.
            body: the whole of it.
        """
        line, *fields = head.decode().split("\r\n")
        method, path, _ = line.split(" ")
        headers: CIMultiDict[str] = CIMultiDict()
        for field in fields:
            name, _, value = field.partition(":")
            headers.add(name, value.strip())
        try:
            self._verifier.verify(SignedRequest(method, path, CIMultiDictProxy(headers), sha256_of(body)))
        except RefusedError as error:
            return error.refusal.body
        return None
