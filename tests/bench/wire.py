"""The little of HTTP/1.1 that the load and the upstream need: where a message ends. It trusts its peer, on purpose."""

HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


def whole(buffer: bytes) -> tuple[bytes, bytes] | None:
    """Head and body of the one message in the buffer; None while it is not complete.

    Raises:
        ValueError: it declares no length.
    """
    end = buffer.find(HEAD_END)
    if end < 0:
        return None
    head = buffer[:end]
    at = head.lower().find(_LENGTH)
    if at < 0:
        raise ValueError(f"a message without Content-Length: {head!r}")
    length = int(head[at + len(_LENGTH) :].partition(b"\r\n")[0])
    body = buffer[end + len(HEAD_END) :]
    return (head, body) if len(body) >= length else None
