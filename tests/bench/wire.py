"""The little of HTTP/1.1 that the load and the upstream need: where a message ends. It trusts its peer, on purpose."""

HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Reader:
    """Puts messages together that come one after the other on a connection, each with its length declared."""

    __slots__ = ("_body_at", "_have", "_pieces", "_want")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._want = 0
        self._body_at = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Head and body of the message that this completes; None while it is not complete.

        Raises:
            ValueError: it declares no length, or is longer than declared.
        """
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._want:
                return None
            data = b"".join(self._pieces)
            self._pieces = []
        if not self._want and not self._measure(data):
            self._pieces, self._have = [data], len(data)
            return None
        if len(data) < self._want:
            self._pieces, self._have = [data], len(data)
            return None
        if len(data) > self._want:
            raise ValueError(f"more than one message, or one that is longer than it says: {data[:500]!r}")
        at, self._want = self._body_at, 0
        return data[: at - len(HEAD_END)], data[at:]

    def _measure(self, data: bytes) -> bool:
        """Find out how long the message is; false while its head is not complete."""
        end = data.find(HEAD_END)
        if end < 0:
            return False
        head = data[:end].lower()
        at = head.find(_LENGTH)
        if at < 0:
            raise ValueError(f"a message without Content-Length: {head!r}")
        self._body_at = end + len(HEAD_END)
        self._want = self._body_at + int(head[at + len(_LENGTH) :].partition(b"\r\n")[0])
        return True
