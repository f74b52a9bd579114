"""Who may call, end to end: keys, AWS's signatures by AWS's own SDK, HTTPS, reloads, and operators apart."""

import asyncio
import io
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError
from yarl import URL

from gateway.app import StartError, open_gateway
from gateway.config import ConfigError
from gateway.log import make_logger
from gateway.sagemaker.signing import Credentials
from tests.certificates import make_certificate
from tests.sagemaker.test_signing import by_botocore
from tests.stand import REGION, MakeStand, Reply, Stand, StandSettings

SECRET = "sgw_an-api-key-of-a-test"
NEW_SECRET = "sgw_its-successor"
PAIR = ("SGWEXAMPLEEXAMPLE234", "an-example-of-40-characters-or-any-from-32")
TEAM_A = {"name": "team-a", "key_sha256": sha256(SECRET.encode()).hexdigest(), "routes": ["echo"]}
TEAM_B = {"name": "team-b", "access_key_id": PAIR[0], "secret_access_key": PAIR[1], "routes": ["echo"]}
FLEET = {"model": {"seconds": 0, "echo": True}}


def write_keys(folder: Path, *keys: object) -> str:
    """A keys file of these entries; its path."""
    path = folder / "keys.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({"keys": list(keys)}))
    return str(path)


def guarded(folder: Path, **groups: Any) -> StandSettings:
    """Two endpoints, of which both teams may call one."""
    listen = {"port": 0, "keys_file": write_keys(folder, TEAM_A, TEAM_B), **groups.pop("listen", {})}
    return StandSettings({"echo": FLEET, "other": FLEET}, config={"listen": listen, **groups})


def outcome(reply: Reply) -> tuple[int, str | None]:
    """Status and error code."""
    return reply.status, reply.headers.get("x-amzn-ErrorType")


ONCE = Config(retries={"total_max_attempts": 1})
DENIED = (403, "AccessDeniedException")


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {SECRET}"}, {"x_api_key": SECRET}])
async def test_a_key_opens_its_routes(headers: dict[str, str], make_stand: MakeStand, tmp_path: Path) -> None:
    """And no others; the log says who it was, and the key goes no further."""
    stand = await make_stand(guarded(tmp_path))

    mine = await stand.invoke("echo", b"abc", **headers)
    others = await stand.invoke("other", b"abc", **headers)
    lost = await stand.invoke("nowhere", b"abc", **headers)

    assert (mine.status, mine.body) == (200, b"abc")
    assert (outcome(others), lost.status) == (DENIED, 404)
    assert others.headers["Proxy-Status"] == "sagemaker-gateway; error=http_request_denied"
    assert [(line["caller"], line["reason"]) for line in stand.log("request_finished")] == [
        ("team-a", None),
        ("team-a", "denied"),
        ("team-a", "unknown_route"),
    ]
    assert stand.counters("other").calls == 0


@pytest.mark.parametrize("endpoint", ["echo", "nowhere"])
async def test_strangers_learn_nothing(endpoint: str, make_stand: MakeStand, tmp_path: Path) -> None:
    """Without a key or with a wrong one: 403, the same for routes that exist and for others, and it is counted."""
    stand = await make_stand(guarded(tmp_path))

    replies = [await stand.invoke(endpoint), await stand.invoke(endpoint, x_api_key=NEW_SECRET)]
    metrics = await stand.metrics()

    assert [outcome(reply) for reply in replies] == [DENIED, DENIED]
    labels = (("endpoint", "_unknown"), ("reason", "denied"))
    assert metrics["sagemaker_gateway_refusals_total", labels] == 2
    assert [line["caller"] for line in stand.log("request_finished")] == [None, None]
    assert stand.counters("echo").calls == 0


@pytest.mark.parametrize("key", ["", "x-api-key: wrong\r\n", f"x-api-key: {SECRET}\r\n"])
async def test_the_body_is_not_waited_for(key: str, make_stand: MakeStand, tmp_path: Path) -> None:
    """No key, a wrong one, or one for another route: refused while the body is still to come."""
    stand = await make_stand(guarded(tmp_path))
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /endpoints/other/invocations HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 1000000\r\n\r\n"
    writer.write(head.encode())

    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 403 ")


def sdk(url: str, secret: str = PAIR[1], **options: Any) -> Any:
    """A client of boto3, as it comes."""
    keys = {"aws_access_key_id": PAIR[0], "aws_secret_access_key": secret, "region_name": "eu-central-1"}
    return boto3.client("sagemaker-runtime", endpoint_url=url, **{**keys, **options})


def invoked(client: Any, endpoint: str = "echo") -> bytes:
    """What the SDK gets."""
    with closing(client):
        reply = client.invoke_endpoint(
            EndpointName=endpoint, Body=b"\x00\xff", ContentType="a/b;  c=d", CustomAttributes="e  f,g"
        )
        body: bytes = reply["Body"].read()
    return body


async def test_an_sdk_signs_in(make_stand: MakeStand, tmp_path: Path) -> None:
    """With a key pair of the gateway's, any region, and no other change; the log knows the caller."""
    stand = await make_stand(guarded(tmp_path))

    assert await asyncio.to_thread(invoked, sdk(stand.url)) == b"\x00\xff"
    assert [line["caller"] for line in stand.log("request_finished")] == ["team-b"]


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "another-secret-of-the-same-length-as-the-one"},
        {"aws_access_key_id": "SGWNOBODYNOBODY23456"},
        {"aws_session_token": "of-somebody-else"},
    ],
)
async def test_an_sdk_raises_once(options: dict[str, str], make_stand: MakeStand, tmp_path: Path) -> None:
    """AccessDeniedException with the reason, and no second try; who is not proven stays without a name."""
    stand = await make_stand(guarded(tmp_path))

    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(invoked, sdk(stand.url, **options))

    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["RetryAttempts"]) == ("AccessDeniedException", 0)
    assert response["Error"]["Message"]
    assert [(line["status"], line["caller"]) for line in stand.log("request_finished")] == [(403, None)]
    assert stand.counters("echo").calls == 0


async def test_an_sdk_is_kept_to_its_routes(make_stand: MakeStand, tmp_path: Path) -> None:
    """A good signature for a route of others opens nothing."""
    stand = await make_stand(guarded(tmp_path))

    with pytest.raises(ClientError, match="AccessDeniedException"):
        await asyncio.to_thread(invoked, sdk(stand.url), "other")


@pytest.mark.parametrize("endpoint", ["echo", "other", "nowhere"])
async def test_who_knows_an_id_learns_of_no_route(endpoint: str, make_stand: MakeStand, tmp_path: Path) -> None:
    """A route that the key opens, one that it does not, and none at all: without the secret, all are the same."""
    stand = await make_stand(replace(guarded(tmp_path), endpoints={"echo": {"max_body_bytes": 1000}}))
    path = f"/endpoints/{endpoint}/invocations"
    signer = {"method": "POST", "url": f"{stand.url}{path}", "region": REGION}
    odd = [("X-Amzn-SageMaker-Target-Variant", "-")]  # SageMaker would not take it

    def headers(*more: tuple[str, str]) -> dict[str, str]:
        secret = Credentials(PAIR[0], PAIR[1][::-1])
        return dict([*more, *by_botocore(signer, list(more), b"{}", secret, time.time()).items()])

    requests = [("POST", headers(), b"{}"), ("POST", headers(*odd), b"{}")]
    requests += [("POST", headers(), bytes(2000)), ("GET", headers(), b"{}")]

    replies = [await stand.request(method, path, body, **extra) for method, extra, body in requests]

    assert [outcome(reply) for reply in replies] == [DENIED] * 4
    assert {reply.json["message"].partition(":")[0] for reply in replies} == {
        "The signature does not match the request"
    }
    assert [(line["endpoint"], line["caller"]) for line in stand.log("request_finished")] == [(None, None)] * 4
    assert stand.counters("echo").calls == 0


async def test_who_has_signed_is_told_what_is_wrong(make_stand: MakeStand, tmp_path: Path) -> None:
    """Once the signature is proven: no such route, another's route, a body that is too long for this one."""
    stand = await make_stand(replace(guarded(tmp_path), endpoints={"echo": {"max_body_bytes": 1}}))

    with pytest.raises(ClientError, match=r"\(ValidationError\).*No route or endpoint"):
        await asyncio.to_thread(invoked, sdk(stand.url), "nowhere")
    with pytest.raises(ClientError, match=r"key of team-b may not be used for other"):
        await asyncio.to_thread(invoked, sdk(stand.url), "other")
    with pytest.raises(ClientError, match=r"\(RequestEntityTooLargeException\).*longer than 1 bytes"):
        await asyncio.to_thread(invoked, sdk(stand.url))
    assert [line["caller"] for line in stand.log("request_finished")] == ["team-b"] * 3
    assert stand.counters("echo").calls == 0


@dataclass
class Signed:
    """A signed call that can be changed on its way."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"

    @classmethod
    def of(cls, stand: Stand, now: float, **more: str) -> "Signed":
        """A call to `echo`, signed at that time."""
        url = f"{stand.url}/endpoints/echo/invocations?a=b%20c&a=%61"
        headers = {"Content-Type": "text/plain", **more}
        signer = {"method": "POST", "url": url, "region": REGION}
        added = by_botocore(signer, list(headers.items()), b"{}", Credentials(*PAIR), now)
        return cls(url, {**headers, **added})

    async def send(self, stand: Stand) -> Reply:
        """What becomes of it."""
        url = URL(self.url, encoded=True)
        async with stand.session.post(url, data=self.body, headers=self.headers) as response:
            return Reply(response.status, response.headers.copy(), await response.read())


def other_body(call: Signed) -> None:
    """Of the same length."""
    call.body = b"[]"


def other_path(call: Signed) -> None:
    """Another operation."""
    call.url = call.url.replace("invocations", "async-invocations")


def other_query(call: Signed) -> None:
    """The same to a server that decodes it, and yet another."""
    call.url = call.url.replace("%61", "a")


def other_header(call: Signed) -> None:
    """One that was signed."""
    call.headers["Content-Type"] = "text/html"


def new_header(call: Signed) -> None:
    """One that means something, and was not."""
    call.headers["X-Amzn-SageMaker-Target-Variant"] = "b"


def other_date(call: Signed) -> None:
    """A second later, or earlier."""
    stamp = call.headers["x-amz-date"]
    call.headers["x-amz-date"] = stamp[:-2] + ("1Z" if stamp[-2] == "0" else "0Z")


def other_region(call: Signed) -> None:
    """The same caller, elsewhere."""
    call.headers["authorization"] = call.headers["authorization"].replace(REGION, "eu-west-1")


def unsigned_payload(call: Signed) -> None:
    """Whatever the body is."""
    call.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"


TAMPERINGS = (other_body, other_path, other_query, other_header, new_header, other_date, other_region, unsigned_payload)


async def test_a_signature_is_of_one_call_and_one_time(make_stand: MakeStand, tmp_path: Path) -> None:
    """What was signed arrives; nothing of it can be changed, and it cannot be replayed after five minutes."""
    stand = await make_stand(guarded(tmp_path))
    now = time.time()

    async def sent(tamper: Callable[[Signed], None] = lambda _: None, at: float = now) -> tuple[int, str | None]:
        call = Signed.of(stand, at)
        tamper(call)
        return outcome(await call.send(stand))

    assert [await sent(), await sent(at=now - 280), await sent(at=now + 290)] == [(200, None)] * 3
    assert [await sent(tamper) for tamper in TAMPERINGS] == [DENIED] * len(TAMPERINGS)
    assert [await sent(at=now - 301), await sent(at=now + 330)] == [DENIED] * 2
    assert stand.counters("echo").calls == 3


async def test_no_secret_is_shown_anywhere(make_stand: MakeStand, tmp_path: Path) -> None:
    """Not in the log, the metrics, the status or a refusal, whatever callers and operators do wrong."""
    stand = await make_stand(guarded(tmp_path))
    replies = [await stand.invoke("other", x_api_key=SECRET), await stand.invoke("echo", x_api_key=NEW_SECRET)]
    replies.append(await stand.request("POST", "/nowhere", b"", Authorization=f"Basic {SECRET}"))
    replies.append(await Signed.of(stand, time.time() - 900).send(stand))
    write_keys(tmp_path, {**TEAM_B, "routes": [], "key_sha256": SECRET}, SECRET, {SECRET: PAIR[1]})
    assert (await stand.gateway.reload()).problems
    replies += [await stand.request("GET", path, b"") for path in ("/metrics", "/status", "/readyz?verbose")]

    shown = stand.logged.getvalue() + "".join(f"{reply.headers}{reply.body!r}" for reply in replies)

    assert "reload_failed" in shown
    for secret in (SECRET, NEW_SECRET, PAIR[1], str(TEAM_A["key_sha256"])):
        assert secret not in shown


async def test_keys_are_read_anew(make_stand: MakeStand, tmp_path: Path) -> None:
    """After a reload the new keys count and the old ones do not."""
    stand = await make_stand(guarded(tmp_path))
    write_keys(tmp_path, {**TEAM_A, "key_sha256": sha256(NEW_SECRET.encode()).hexdigest()})

    before = [(await stand.invoke("echo", x_api_key=key)).status for key in (SECRET, NEW_SECRET)]
    taken = not (await stand.gateway.reload()).problems
    after = [(await stand.invoke("echo", x_api_key=key)).status for key in (SECRET, NEW_SECRET)]

    assert (before, taken, after) == ([200, 403], True, [403, 200])
    (line,) = stand.log("access_reloaded")
    assert (line["keys"], line["certificate"]) == (1, False)


async def test_a_bad_keys_file_changes_nothing(make_stand: MakeStand, tmp_path: Path) -> None:
    """The keys before stay, and the log names file, line and key of each mistake."""
    stand = await make_stand(guarded(tmp_path))
    path = write_keys(tmp_path, {**TEAM_A, "routes": ["ecco"]}, {**TEAM_B, "name": "team_b"})

    taken = not (await stand.gateway.reload()).problems

    assert (taken, (await stand.invoke("echo", x_api_key=SECRET)).status) == (False, 200)
    (line,) = stand.log("reload_failed")
    assert (line["level"], line["file"]) == ("error", path)
    first, second = line["problems"]
    assert first.startswith(f"{path}:5:5 keys[0].routes[0]: found 'ecco', wanted a key of routes or endpoints")
    assert second.startswith(f"{path}:7:3 keys[1].name: found 'team_b', wanted a name")


async def test_a_bad_keys_file_at_the_start(make_stand: MakeStand, tmp_path: Path) -> None:
    """The gateway does not start, and says why."""
    settings = guarded(tmp_path)
    write_keys(tmp_path, {**TEAM_A, "routes": ["ecco"]})

    with pytest.raises(ConfigError, match=r"keys\[0\]\.routes\[0\]"):
        await make_stand(settings)


async def test_https(make_stand: MakeStand, tmp_path: Path) -> None:
    """For curl-like callers and SDKs that trust the certificate; nobody else gets through, nor plain HTTP."""
    files = make_certificate(tmp_path)
    stand = await make_stand(guarded(tmp_path, listen={"tls": files.settings}))
    trust = ssl.create_default_context(cafile=files.certificate)
    url = f"{stand.url}/endpoints/echo/invocations"

    async with stand.session.post(url, data=b"abc", headers={"x-api-key": SECRET}, ssl=trust) as response:
        body = await response.read()
    through_sdk = await asyncio.to_thread(invoked, sdk(stand.url, verify=str(files.certificate)))
    with pytest.raises(SSLError):
        await asyncio.to_thread(invoked, sdk(stand.url, config=ONCE))

    assert stand.url.startswith("https://127.0.0.1:")
    assert (body, through_sdk) == (b"abc", b"\x00\xff")


async def test_a_new_certificate_without_a_gap(make_stand: MakeStand, tmp_path: Path) -> None:
    """After a reload callers see the new one; files that do not fit together change nothing, keys included."""
    files = make_certificate(tmp_path)
    stand = await make_stand(guarded(tmp_path, listen={"tls": files.settings}))

    async def called(certificate: bytes) -> int:
        trust = ssl.create_default_context(cadata=certificate.decode())
        url = f"{stand.url}/endpoints/echo/invocations"
        headers = {"x-api-key": SECRET, "Connection": "close"}
        async with stand.session.post(url, data=b"", headers=headers, ssl=trust) as response:
            return response.status

    first = files.certificate.read_bytes()
    assert await called(first) == 200
    make_certificate(tmp_path)
    second = files.certificate.read_bytes()
    assert not (await stand.gateway.reload()).problems
    assert await called(second) == 200

    files.key.write_bytes(make_certificate(tmp_path, "other").key.read_bytes())
    write_keys(tmp_path)
    assert (await stand.gateway.reload()).problems
    assert await called(second) == 200
    (line,) = stand.log("reload_failed")
    assert line["problems"] == [f"{files.key}: the key is not that of the certificate in {files.certificate}"]


async def test_a_bad_certificate_at_the_start(tmp_path: Path) -> None:
    """The gateway does not start, and says which file it is."""
    files = make_certificate(tmp_path)
    files.key.write_text("no key")
    config = guarded(tmp_path, listen={"tls": files.settings}).gateway("http://127.0.0.1:9")

    with pytest.raises(StartError, match=r"tls\.key: not a certificate and its key in PEM"):
        async with open_gateway(config, make_logger(stream=io.StringIO())):
            pass


OPS = ("/livez", "/readyz", "/metrics", "/status")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_operators_have_an_address_of_their_own(scheme: str, make_stand: MakeStand, tmp_path: Path) -> None:
    """In plain HTTP and without a key; callers find nothing there, and operators no endpoint."""
    tls = make_certificate(tmp_path).settings if scheme == "https" else {}
    stand = await make_stand(guarded(tmp_path, admin={"host": "localhost", "port": 0}, listen={"tls": tls}))
    admin, key = stand.gateway.admin_url, {"x-api-key": SECRET}

    async def seen(url: str, method: str = "GET", **headers: str) -> int:
        async with stand.session.request(method, url, headers=headers, ssl=False) as response:
            return response.status

    assert (admin.partition(":")[0], stand.url.partition(":")[0]) == ("http", scheme)
    assert [await seen(admin + path) for path in OPS] == [200] * 4
    assert [await seen(stand.url + path) for path in OPS] == [403] * 4
    assert [await seen(stand.url + path, **key) for path in OPS] == [404] * 4
    assert await seen(f"{admin}/endpoints/echo/invocations", "POST", **key) == 404
    assert await seen(f"{admin}/status", "POST") == 405
    assert stand.counters("echo").calls == 0


async def test_without_one_they_come_where_callers_do(make_stand: MakeStand, tmp_path: Path) -> None:
    """Probes and Prometheus show no key."""
    stand = await make_stand(guarded(tmp_path))

    assert [(await stand.request("GET", path, b"")).status for path in OPS] == [200] * 4
    assert stand.gateway.admin_url == stand.url


async def test_a_taken_address_of_operators_is_said(make_stand: MakeStand) -> None:
    """With the settings that name it, and not those of callers."""
    stand = await make_stand(StandSettings({"echo": FLEET}))
    port = int(stand.url.rpartition(":")[2])

    with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}: .*change admin\.host or admin\.port"):
        await make_stand(StandSettings({"echo": FLEET}, config={"admin": {"port": port}}))
