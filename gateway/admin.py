"""What operators see and do: livez, readyz, metrics, status, reload."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from aiohttp import web
from multidict import CIMultiDict

from gateway.config.rules import RELOAD_PATH
from gateway.errors import BAD_METHOD, DENIED, PROXY_NAME, UNKNOWN_ROUTE, Refusal
from gateway.models import Reloaded, Statistics

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
Check = Callable[[], str | None]
"""Says what is wrong; None where nothing is."""
Expose = Callable[[str, Sequence[str] | None], Awaitable[tuple[str, bytearray]]]
"""Tells the samples of some names, or all, in the form that `Accept` asks for: the media type, and the text."""

_NOT_HERE = (
    "Callers reach this address, so the config is not read again from here: send the process SIGHUP, or give operators "
    "an address of their own with admin.port."
)

OPS_METHODS = ("GET", "HEAD")


class Admin:
    """Answers the ops paths.

    Args:
        expose: tells the metrics.
        statistics: by endpoint, its limiter's statistics.
        describe: by endpoint, what config and fleet say of it, for `/status`.
        checks: by name, what has to hold before traffic may come.
        version: the gateway's.
        reload: reads the config again; None where whoever comes here may not have that done.
    """

    def __init__(
        self,
        *,
        expose: Expose,
        statistics: Mapping[str, Callable[[], Statistics]],
        describe: Mapping[str, Callable[[], Mapping[str, object]]],
        checks: Mapping[str, Check],
        version: str,
        reload: Callable[[], Awaitable[Reloaded]] | None,
    ) -> None:
        self.replace(statistics, describe)
        self._reload = reload
        self._checks = checks
        self._version = version
        self._expose = expose
        self._handlers: Mapping[str, Handler] = {
            "/livez": self.livez,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/status": self.status,
        }

    def replace(
        self,
        statistics: Mapping[str, Callable[[], Statistics]],
        describe: Mapping[str, Callable[[], Mapping[str, object]]],
    ) -> None:
        """From now on these endpoints are shown."""
        self._statistics = statistics
        self._describe = describe

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request for one of the ops paths; where operators have an address of their own, others come too."""
        path = request.rel_url.raw_path
        handler = self._handlers.get(path)
        if path == RELOAD_PATH:
            response = await self.reload(request)
        elif handler is None:
            known = ", ".join((*self._handlers, RELOAD_PATH))
            response = _refused(Refusal(UNKNOWN_ROUTE, f"Here are {known}, and nothing else."))
        elif request.method not in OPS_METHODS:
            response = _refused(
                Refusal(BAD_METHOD, f"{request.method} is not taken here: use GET.", allow=", ".join(OPS_METHODS))
            )
        else:
            response = await handler(request)
        response.headers["Server"] = PROXY_NAME
        response.headers["Cache-Control"] = "no-store"
        return response

    async def livez(self, _request: web.BaseRequest) -> web.Response:
        """200 as long as the loop turns. Never depends on AWS: a restart would not mend that."""
        return _text(200, "ok\n")

    async def readyz(self, request: web.BaseRequest) -> web.Response:
        """200 when traffic may come, else 503 with the names of what fails; `?verbose` lists every check."""
        results = {name: check() for name, check in self._checks.items()}
        failed = [name for name, problem in results.items() if problem is not None]
        if "verbose" in request.query:
            lines = [
                f"[+] {name} ok" if problem is None else f"[-] {name} failed: {problem}"
                for name, problem in results.items()
            ]
        else:
            lines = [f"not ready: {', '.join(failed)}"] if failed else ["ok"]
        return _text(503 if failed else 200, "\n".join([*lines, ""]))

    async def metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """All metrics, or those that `?name[]=` names, in the form that `Accept` asks for."""
        accept = ",".join(request.headers.getall("Accept", []))
        media_type, text = await self._expose(accept, request.query.getall("name[]", None))
        response = web.Response(body=text, headers={"Content-Type": media_type})
        response.enable_compression()  # in a thread
        return response

    async def status(self, _request: web.BaseRequest) -> web.Response:
        """Every endpoint's live state."""
        endpoints = {
            name: {**self._describe[name](), **asdict(statistics())} for name, statistics in self._statistics.items()
        }
        body = json.dumps({"version": self._version, "endpoints": endpoints}, indent=2)
        return web.Response(text=body + "\n", content_type="application/json")

    async def reload(self, request: web.BaseRequest) -> web.StreamResponse:
        """Read the config again: 200 and what has changed, or 400 and every mistake, while the old one serves."""
        if request.method != "POST":
            return _refused(Refusal(BAD_METHOD, f"{request.method} is not taken here: use POST.", allow="POST"))
        if self._reload is None:
            return _refused(Refusal(DENIED, _NOT_HERE))
        outcome = await self._reload()
        content = {"problems": outcome.problems} if outcome.problems else outcome.changes
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        return web.Response(status=400 if outcome.problems else 200, text=text, content_type="application/json")


def _refused(refusal: Refusal) -> web.StreamResponse:
    status, headers, body = refusal.wire(str(uuid4()))
    return web.Response(status=status, headers=CIMultiDict(headers), body=body)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
