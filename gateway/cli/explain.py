"""`explain`: where a request leads, and why, worked out from the config by the very parts that the data path uses."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
from multidict import CIMultiDict
from rich.table import Table

from gateway.cli.check import capacity, identity, new_table, open_console
from gateway.cli.errors import fail
from gateway.config import Config, ConfigError, Endpoint, load
from gateway.config.problems import nearest, shown
from gateway.config.rules import OPS_PATHS, RELOAD_PATH
from gateway.errors import BAD_REQUEST, UNKNOWN_ROUTE, Refusal
from gateway.models import Headers, Operation
from gateway.router import NO_ROUTE, SESSION, Match, Router, Tier
from gateway.sagemaker.hosts import HostError, HostKind, call_url
from gateway.sagemaker.parts import asked_of_the_model, wants_frames
from gateway.sagemaker.protocol import INVOKE_ENDPOINT, OPERATIONS, request_headers, taken

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
_UNSEEN = "a refused connection, ThrottlingException, ModelNotReadyException, or no capacity"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of one request.

    Attributes:
        match: where its path leads.
        left: what its headers leave of that.
        given: its headers.
        sent: those that go to SageMaker, endpoints' own not included.
        ruled_out: endpoints that its route names and that do not serve it, each with the reason.
    """

    match: Match
    left: Match
    given: Headers
    sent: Headers
    ruled_out: Mapping[str, str]

    @property
    def session(self) -> bool:
        """Whether it belongs to a session."""
        return any(name.lower() == SESSION for name, _ in self.sent)


def _headers(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Headers:
    """The headers of a command line, taken apart."""
    found = []
    for value in values:
        parts = _HEADER.fullmatch(value)
        if parts is None or not parts[2].replace("\t", " ").isprintable():
            raise click.BadParameter(f"{value!r} is not of the form 'Name: value', on one line", param=parameter)
        found.append((parts[1], parts[2].rstrip(" \t")))
    return found


@click.command()
@click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The config, in YAML.",
)
@click.option(
    "--header",
    "-H",
    "headers",
    multiple=True,
    callback=_headers,
    metavar="'NAME: VALUE'",
    help="A header of the request; as often as there are some.",
)
@click.argument("path", metavar="REQUEST-PATH")
def explain(file: Path, path: str, headers: Headers) -> None:
    """Say where a request leads, and why: exit 0, 1 if it is refused, 2 if the config is.

    Nothing is called: the config alone tells, not even AWS's own settings are read. REQUEST-PATH is that of the
    request line, such as /predict; a query in it means nothing, as it does for the gateway.
    """
    try:
        config = load(file)
    except ConfigError as error:
        fail(str(error), code=2)
    path = re.split("[?#]", path, maxsplit=1)[0]
    if path in (*OPS_PATHS, RELOAD_PATH):
        method = "POST" if path == RELOAD_PATH else "GET"
        fail(f"{path}: the gateway answers this path itself, to {method}; it leads to no endpoint", code=1)
    try:
        found = explanation(config, path, headers)
        tables = [_candidates(config, found), _at_sagemaker(config, found.left), _of_headers(config, found)]
    except Refusal as refusal:
        fail(f"{shown(path)}: {refusal.row.status} {refusal.row.code}: {refusal.message}", code=1)
    except HostError as error:
        fail(str(error), code=1)
    console, route = open_console(), found.match.route
    kind = "route" if route in config.routes else "endpoint"
    console.print(f"{path}: {kind} {route}, {found.match.operation.name}", soft_wrap=True)
    for table in (*tables, _left_out(found)):
        if table.row_count:
            console.print()
            console.print(table)
    console.print()
    for reason in _reasons(config, found):
        console.print(f"why: {reason}", soft_wrap=True)


def explanation(config: Config, path: str, headers: Headers) -> Explanation:
    """What becomes of a request.

    Args:
        config: the settings.
        path: the path of its request line, without the query.
        headers: its headers.

    Raises:
        Refusal: as its caller would get.
    """
    router = Router(config, OPERATIONS, INVOKE_ENDPOINT)
    match = router.match(path)
    if match is None:
        near = nearest(path, (each for each in _paths(config) if router.match(each) is not None))
        raise Refusal(UNKNOWN_ROUTE, NO_ROUTE + (f" The nearest is {near}." if near else ""))
    operation, given = match.operation, CIMultiDict(headers)
    renamed = operation.streams and not wants_frames(given)
    sent = request_headers(operation, asked_of_the_model(given) if renamed else given.items())
    left = router.narrow(match, sent)
    ruled_out = {
        target.endpoint: "its weight is 0"
        for target in (config.routes[match.route].targets if match.route in config.routes else ())
        if target.weight == 0
    }
    for endpoint in match.endpoints:
        if endpoint not in left.endpoints:
            ruled_out[endpoint] = _clash(router, match, endpoint, sent) or f"a session stays with {left.endpoints[0]}"
    return Explanation(match, left, headers, sent, ruled_out)


def _paths(config: Config) -> Iterator[str]:
    """Paths that callers may have meant."""
    yield from (route.path for route in config.routes.values() if route.path is not None)
    for operation in OPERATIONS:
        for name in (*config.routes, *config.endpoints):
            yield f"/endpoints/{name}/{operation.suffix}"


def _clash(router: Router, match: Match, endpoint: str, sent: Headers) -> str:
    """Why an endpoint is no place for these headers, in the gateway's own words; empty where it is one."""
    try:
        router.narrow(replace(match, tiers=({endpoint: 1},), endpoints=(endpoint,), settled=False), sent)
    except Refusal as refusal:
        if refusal.row is BAD_REQUEST:
            return refusal.message
        raise
    return ""


def _candidates(config: Config, found: Explanation) -> Table:
    left = found.left
    table = new_table("Candidates, in order", "turn", "endpoint", "calls at once", "may wait", "for", "time limit")
    for tier in left.tiers:
        for endpoint in tier:
            settings = config.endpoints[endpoint]
            bounds, limit = _bounds(settings, left.operation), _time_limit(settings, left.operation)
            table.add_row(_turn(config, found, tier, endpoint), endpoint, *bounds, limit)
    return table


def _turn(config: Config, found: Explanation, tier: Tier, endpoint: str) -> str:
    """As what an endpoint is asked."""
    if (route := config.routes.get(found.left.route)) is None:
        return "the endpoint itself"
    if endpoint in route.fallback:
        return f"fallback {route.fallback.index(endpoint) + 1}"
    if found.session:
        return "target (of the session)"
    return f"target (weight {tier[endpoint]}, {100 * tier[endpoint] / sum(tier.values()):.3g} %)"


def _bounds(endpoint: Endpoint, operation: Operation) -> tuple[str, str, str]:
    if not operation.takes_permit:
        return "no permit", "nobody waits", ""
    calls = capacity(endpoint)
    if endpoint.capacity is None:
        asked = "DescribeEndpoint" if endpoint.inference_component is None else "DescribeInferenceComponent"
        calls += f": follows the fleet ({asked})"
    return calls, str(endpoint.queue.max_waiting), f"{endpoint.queue.timeout_seconds:g} s"


def _time_limit(endpoint: Endpoint, operation: Operation) -> str:
    return f"{endpoint.stream_timeout_seconds if operation.streams else endpoint.timeout_seconds:g} s"


def _at_sagemaker(config: Config, left: Match) -> Table:
    table = new_table("At SageMaker", "endpoint", "SageMaker's name", "region", "part", "signed by", "URL")
    kind = HostKind(bool(config.aws.use_fips_endpoint), bool(config.aws.use_dualstack_endpoint))
    for key in left.endpoints:
        settings, name = config.endpoints[key], config.endpoint_name(key)
        fixed = taken(left.operation, settings.fixed_headers)
        part = ", ".join(f"{_word(header)} {value}" for header, value in fixed) or "all of it"
        url = call_url(config, key, left.operation, kind)
        table.add_row(key, name, settings.region or config.aws.region, part, identity(settings), url)
    return table


def _word(header: str) -> str:
    return header.removeprefix("X-Amzn-SageMaker-").replace("-", " ").lower()


def _of_headers(config: Config, found: Explanation) -> Table:
    table = new_table("Headers, beside those of the signature", "header", "value", "what becomes of it")
    sent = {name.lower() for name, _ in found.sent}
    for name, value in found.sent:
        table.add_row(name, value, "goes to SageMaker")
    for key in found.left.endpoints:
        for name, value in taken(found.left.operation, config.endpoints[key].fixed_headers):
            if name.lower() not in sent:
                table.add_row(name, value, f"goes to SageMaker with every call to {key}")
    for name, value in found.given:
        if name.lower() not in sent:
            table.add_row(name, value, "stays behind")
    return table


def _left_out(found: Explanation) -> Table:
    table = new_table("Ruled out", "endpoint", "why")
    for endpoint, why in found.ruled_out.items():
        table.add_row(endpoint, why)
    return table


def _reasons(config: Config, found: Explanation) -> Iterator[str]:
    left = found.left
    first, spare = tuple(left.tiers[0]), left.endpoints[len(left.tiers[0]) :]
    seconds = max(config.endpoints[name].queue.timeout_seconds for name in first)
    if found.session:
        yield f"a session lives in one instance: its calls all go to {first[0]}, whatever its health, and never move"
    if not left.operation.takes_permit:
        yield "SageMaker queues these calls itself, so that they take no permit and never wait here"
        if len(first) > 1:
            yield "each goes to one of the targets by weight, whether that has room or not"
    elif len(first) > 1:
        yield f"the call waits for all of {', '.join(first)} at once and goes to the first that has room"
        yield "where several have room, weights decide"
    else:
        yield f"the call goes to {first[0]} as soon as that has room, first come, first served"
    if left.operation.takes_permit:
        yield f"it waits {seconds:g} s at most (queue.timeout_seconds, the longest of its targets)"
    if len(left.endpoints) > 1:
        ways = [*(["another target"] if len(first) > 1 else []), *spare]
        yield (
            f"where no model saw the call ({_UNSEEN}), it goes on to {', then to '.join(ways)}, "
            f"within {seconds:g} s and to each endpoint once"
        )
    else:
        waits = " at once, but for want of capacity, which is waited for" if left.operation.takes_permit else ""
        yield f"there is nowhere else to go: where {first[0]} does not take the call, its caller is told{waits}"
    if spare and left.operation.takes_permit:
        yield "a fallback also takes it where the queues before it are full, or nothing there takes calls now"
    yield f"a body may have {left.max_body_bytes} bytes at most"
