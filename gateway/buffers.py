"""The memory that callers' bodies take: bounded over all of them, and refused before it is used."""

from gateway.errors import BUFFER_FULL, Refusal


class Buffers:
    """How much memory bodies take, and may take.

    Args:
        limit: how much they may, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        """How much they take now, in bytes."""

    def reserve(self, size: int) -> None:
        """Take so many bytes; they are given back by `release`.

        Raises:
            Refusal: there is not so much left.
        """
        if self.used + size > self._limit:
            raise Refusal(
                BUFFER_FULL,
                f"The bodies of callers who wait take {self.used} of {self._limit} bytes already. "
                "The call was not sent: try again later.",
            )
        self.used += size

    def release(self, size: int) -> None:
        """Give so many bytes back."""
        self.used -= size
