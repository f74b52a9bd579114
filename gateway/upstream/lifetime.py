"""The client pool from its beginning to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.upstream.client import Retries, Upstream
from gateway.upstream.opening import Opener, default_context


@asynccontextmanager
async def open_upstream(user_agent: str, retries: Retries) -> AsyncIterator[Upstream]:
    """The process's client pool, closed at the end."""
    upstream = Upstream(Opener(default_context()), user_agent, retries)
    try:
        yield upstream
    finally:
        await upstream.close()
