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


class Chunks:
    """Takes the chunks of one streamed answer apart, its head first."""

    __slots__ = ("_rest", "head", "over")

    def __init__(self) -> None:
        self._rest = b""
        self.head: bytes | None = None
        """Status line and headers, once they are there."""
        self.over = False
        """Whether the last chunk has come."""

    def feed(self, data: bytes) -> bytes:
        """What of the content has come with this.

        Raises:
            ValueError: it is no chunked answer.
        """
        rest = self._rest + data
        if self.head is None:
            head, end, rest = rest.partition(HEAD_END)
            if not end:
                self._rest = head
                return b""
            if b"\r\ntransfer-encoding: chunked" not in head.lower():
                raise ValueError(f"an answer without chunks: {head!r} {rest[:500]!r}")
            self.head = head
        found = []
        while True:
            line, end, after = rest.partition(b"\r\n")
            if not end:
                break
            length = int(line, 16)
            if len(after) < length + 2:
                break
            found.append(after[:length])
            rest = after[length + 2 :]
            self.over = not length
        self._rest = rest
        return b"".join(found)
