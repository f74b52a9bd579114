"""`check` and `schema`: what a config means, or all that is wrong with it; and what a config may be."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.access import read_certificate, read_keys
from gateway.cli.errors import fail
from gateway.config import Config, ConfigError, Endpoint, json_schema, load, notes
from gateway.config.keys import ALL, Keys
from gateway.tls import TlsError

PIPE_WIDTH = 10_000
"""Columns where the output goes to no terminal: each row stays on one line, for grep. A terminal's own width folds."""

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
CHAIN = "the AWS chain"
"""Who signs where an endpoint names neither profile nor role."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def check(path: Path) -> None:
    """Say what a config means (exit 0), or all that is wrong with it or with the files that it names (exit 2)."""
    try:
        config = load(path)
        keys = read_keys(config)
        read_certificate(config)
    except (ConfigError, TlsError) as error:
        fail(str(error), code=2)
    console = open_console()
    listen, aws = config.listen, config.aws
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    scheme = "http" if listen.tls.certificate is None else "https"
    console.print(f"{click.format_filename(path)}: valid", soft_wrap=True)
    console.print(
        f"{scheme}://{host}:{listen.port} -> {aws.endpoint_url or 'SageMaker'} in {aws.region}", soft_wrap=True
    )
    for table in (_paths(config), _endpoints(config), _callers(keys)):
        if table.row_count:
            console.print()
            console.print(table)
    console.print()
    for note in (*notes(config), *_proxies()):
        console.print(f"note: {note}", soft_wrap=True)


@click.command()
def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def open_console() -> Console:
    """Standard output: for people as wide as their terminal, for others as wide as it takes."""
    out = sys.stdout
    return Console(file=out, width=None if out.isatty() else PIPE_WIDTH, markup=False, highlight=False, emoji=False)


def new_table(title: str, *columns: str) -> Table:
    """An empty table that never cuts a name off."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def capacity(endpoint: Endpoint) -> str:
    """How many calls may run at once, and how that comes about."""
    product = f"{endpoint.instances} x {endpoint.concurrency_per_instance}"
    return product if endpoint.capacity is None else f"{product} = {endpoint.capacity}"


def identity(endpoint: Endpoint) -> str:
    """Who signs the calls."""
    profile = f"profile {endpoint.profile}" if endpoint.profile else ""
    if endpoint.role_arn is None:
        return profile or CHAIN
    return endpoint.role_arn + (f" from {profile}" if profile else "")


def _paths(config: Config) -> Table:
    table = new_table("Callers POST to", "path", "name", "leads to")
    for name, route in config.routes.items():
        leads_to = ", ".join(f"{target.endpoint} (weight {target.weight})" for target in route.targets)
        if route.fallback:
            leads_to += f"; fallback {', then '.join(route.fallback)}"
        for path in (route.path, _invocations(name)):
            if path is not None:
                table.add_row(path, f"route {name}", leads_to)
    for key in config.endpoints:
        if key not in config.routes:
            table.add_row(_invocations(key), f"endpoint {key}", key)
    return table


def _callers(keys: Keys | None) -> Table:
    """Who may call what; no key, nor what it could be known by."""
    table = new_table("Callers", "name", "shows", "may call")
    for key in keys.keys if keys else ():
        way = "a signature of AWS" if key.key_sha256 is None else "a key"
        table.add_row(key.name, way, "everything" if key.routes == ALL else ", ".join(key.routes))
    return table


def _invocations(name: str) -> str:
    return f"/endpoints/{name}/invocations"


def _proxies() -> Iterator[str]:
    for name in PROXIES:
        if os.environ.get(name):
            yield f"{name}: it is set here, but calls never go by a proxy: SageMaker has to be reached without"


def _endpoints(config: Config) -> Table:
    extras = _extras(config)
    bounds = ("calls at once", "may wait", "for", "time limit")
    table = new_table("Endpoints", "name", "SageMaker's name", *extras, *bounds)
    for key, endpoint in config.endpoints.items():
        queue = endpoint.queue
        table.add_row(
            key,
            config.endpoint_name(key),
            *(read(endpoint) for read in extras.values()),
            capacity(endpoint),
            str(queue.max_waiting),
            f"{queue.timeout_seconds:g} s",
            f"{endpoint.timeout_seconds:g} s",
        )
    return table


def _extras(config: Config) -> dict[str, Callable[[Endpoint], str]]:
    """Columns for what few endpoints have, by title; there is one only where some endpoint differs from the usual."""
    columns: dict[str, tuple[str, Callable[[Endpoint], str]]] = {
        "component": ("", lambda endpoint: endpoint.inference_component or ""),
        "variant": ("", lambda endpoint: endpoint.target_variant or ""),
        "region": (config.aws.region, lambda endpoint: endpoint.region or config.aws.region),
        "signed by": (CHAIN, identity),
        "URL": ("", lambda endpoint: endpoint.endpoint_url or ""),
    }
    endpoints = config.endpoints.values()
    return {title: read for title, (usual, read) in columns.items() if any(read(each) != usual for each in endpoints)}
