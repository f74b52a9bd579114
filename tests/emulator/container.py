"""A container of somebody else's: a program for `command`, and a server of the test's own for `url`."""

import asyncio
from collections.abc import Callable
from typing import Self

from aiohttp import web

PROGRAM = """
import http.server, os, signal, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_POST(self):
        body = os.environ["WORD"].encode() + self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(99)"])
http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
"""Answers with the variable WORD and the body; told `deaf`, it ignores SIGTERM and has a child that does so too."""


class Recorder:
    """A container that remembers what it was sent, and answers what it is told to, or breaks the connection."""

    def __init__(self, answer: Callable[[], web.StreamResponse] | None) -> None:
        self.seen: list[dict[str, str]] = []
        self.url = ""
        self._answer = answer
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.05)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/ping":
            return web.Response()
        self.seen.append({**request.headers, "body": (await request.read()).decode("latin-1")})
        if self._answer is not None:
            return self._answer()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


class Teller(Recorder):
    """A container that sends a part when the test tells it to, and nothing else."""

    def __init__(self) -> None:
        super().__init__(None)
        self.healthy = True
        self.told: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    def tell(self, *parts: bytes | None) -> None:
        """Send parts; None ends the answer."""
        for part in parts:
            self.told.put_nowait(part)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/ping":
            return web.Response(status=200 if self.healthy else 503)
        self.seen.append({**request.headers, "body": (await request.read()).decode("latin-1")})
        response = web.StreamResponse(headers={"Content-Type": "text/x", "X-Secret": "1"})
        response.headers["X-Amzn-SageMaker-Custom-Attributes"] = "a=b"
        await response.prepare(request)
        while (part := await self.told.get()) is not None:
            await response.write(part)
        self.ended.set()
        return response
