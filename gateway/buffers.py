"""The memory that callers' bodies take: bounded over all of them."""

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

    def check(self, size: int) -> None:
        """Look whether there are so many bytes left.

        Raises:
            Refusal: there are not.
        """
        if self.used + size > self._limit:
            raise Refusal(
                BUFFER_FULL,
                f"The bodies of callers who wait take {self.used} of {self._limit} bytes already. "
                "The call was not sent: try again later.",
            )


class Reservation:
    """What the body of one caller takes.

    Args:
        buffers: of which it is a part.
    """

    __slots__ = ("_buffers", "_size")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._size = 0

    def announce(self, size: int) -> None:
        """Say how many bytes are going to come. They are not reserved: whoever sends slowly would hold them.

        Raises:
            Refusal: there are not so many left.
        """
        self._buffers.check(size)

    def grow(self, size: int) -> None:
        """Say that so many bytes have come.

        Raises:
            Refusal: there were not so many left.
        """
        self._buffers.check(size)
        self._buffers.used += size
        self._size += size

    def release(self) -> None:
        """Give all of it back."""
        self._buffers.used -= self._size
        self._size = 0
