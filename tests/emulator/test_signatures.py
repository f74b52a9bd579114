"""Signatures: what the SDK signs is accepted, and everything else is refused as AWS refuses it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import assume, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.emulator import Emulator
from gateway.emulator.plain import plain_canonical, signature_of, signing_key_of

from .support import FAST, KEY, REGION, SECRET, http, invoke, sdk, settings

PAIRS = [
    {"access_key_id": KEY, "secret_access_key": SECRET},
    {"access_key_id": "ASIATEMPORARY", "secret_access_key": SECRET, "session_token": "the/token=="},
]
TEMPORARY = {"aws_access_key_id": "ASIATEMPORARY", "aws_session_token": "the/token=="}


def signing() -> Any:
    """An endpoint that echoes, for two key pairs, one of them with a session token."""
    return settings({"echo": FAST}, credentials=PAIRS)


@pytest.mark.parametrize("keys", [{}, TEMPORARY])
async def test_what_the_sdk_signs_is_accepted(keys: dict[str, str]) -> None:
    """A good signature passes: any body and headers, long-lived keys or with a session token, odd paths too."""
    async with Emulator(signing()) as emulator, sdk(emulator, **keys) as client:
        attributes = "a  b,   c"
        assert await invoke(client, "echo", b"\x00\xff", CustomAttributes=attributes, Accept="*/*") == b"\x00\xff"
        with pytest.raises(client.exceptions.ValidationError, match="not found"):
            await invoke(client, "odd name~$&+")


@pytest.mark.parametrize(
    ("keys", "code", "text"),
    [
        ({"aws_access_key_id": "AKIANOBODY"}, "UnrecognizedClientException", "security token .* is invalid"),
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException", "signature we calculated does not match"),
        ({"region_name": "eu-west-1"}, "InvalidSignatureException", "scoped to a valid region"),
        ({"aws_session_token": "unasked"}, "UnrecognizedClientException", "security token .* is invalid"),
        ({**TEMPORARY, "aws_session_token": "other"}, "UnrecognizedClientException", "security token .* is invalid"),
    ],
)
async def test_a_wrong_signature_is_refused(keys: dict[str, str], code: str, text: str) -> None:
    """Unknown key, wrong secret, other region, and a token that is not the key's: 403, and nothing is counted."""
    async with Emulator(signing()) as emulator, sdk(emulator, **keys) as client:
        with pytest.raises(ClientError, match=text) as caught:
            await invoke(client, "echo")
        assert emulator.counters("echo").calls == 0
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(6, r"Signature expired: \d+T\d+Z is now earlier than \S+ \(\S+ - 5 min\.\)"), (-6, "Signature not yet current")],
)
async def test_a_skewed_clock_is_refused(minutes: int, text: str) -> None:
    """More than five minutes off, either way, is 403; four minutes are not."""

    def ahead(by: float) -> Callable[[], datetime]:
        return lambda: datetime.now(UTC) + timedelta(minutes=by)

    async with Emulator(signing(), wall_clock=ahead(minutes)) as emulator, sdk(emulator) as client:
        with pytest.raises(ClientError, match=text) as caught:
            await invoke(client, "echo")
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    async with Emulator(signing(), wall_clock=ahead(minutes * 2 / 3)) as emulator, sdk(emulator) as client:
        assert await invoke(client, "echo") == b"{}"


def signed(emulator: Emulator, *, service: str = "sagemaker", **headers: str) -> dict[str, str]:
    """The headers of a signed call of `echo` with the body `{}`."""
    url = f"{emulator.url}/endpoints/echo/invocations"
    request = AWSRequest(method="POST", url=url, data=b"{}", headers=headers)
    SigV4Auth(Credentials(KEY, SECRET), service, REGION).add_auth(request)
    return dict(request.headers.items())


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    """Headers with one taken away."""
    return lambda headers: {key: value for key, value in headers.items() if key != name}


def replaced(old: str, new: str) -> Callable[[dict[str, str]], dict[str, str]]:
    """Headers with another text in the Authorization."""
    return lambda headers: {**headers, "Authorization": headers["Authorization"].replace(old, new)}


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (without("Authorization"), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (without("X-Amz-Date"), "IncompleteSignatureException", "X-Amz-Date must be in ISO8601"),
        (lambda it: {**it, "X-Amz-Date": "20269999T000000Z"}, "IncompleteSignatureException", "X-Amz-Date must be"),
        (replaced("AWS4-HMAC-SHA256", "Bearer"), "IncompleteSignatureException", "AWS4-HMAC-SHA256"),
        (replaced("Signature=", "Sig="), "IncompleteSignatureException", "requires 'Signature' parameter"),
        (replaced("/aws4_request", ""), "IncompleteSignatureException", "Credential must be"),
        (replaced(";host;", ";"), "InvalidSignatureException", "'host' must be a 'SignedHeader'"),
        (replaced(f"{REGION}/sagemaker", f"{REGION}/s3"), "InvalidSignatureException", "correct service: 'sagemaker'"),
        (replaced(KEY + "/20", KEY + "/19"), "InvalidSignatureException", "Date in Credential scope does not match"),
        (lambda it: {**it, "Content-Type": "changed"}, "InvalidSignatureException", "Canonical String"),
        (
            lambda it: {**it, "X-Amz-Content-SHA256": "?"},
            "InvalidSignatureException",
            "'x-amz-content-sha256' must be a",
        ),
        (
            lambda it: {**it, "X-Amz-Security-Token": "t"},
            "InvalidSignatureException",
            "'x-amz-security-token' must be a",
        ),
    ],
)
async def test_a_malformed_signature_is_refused_with_a_reason(
    change: Callable[[dict[str, str]], dict[str, str]], code: str, text: str
) -> None:
    """Whatever is missing from or wrong in a signature is 403 with its code and what is wrong."""
    async with Emulator(signing()) as emulator, http() as session:
        headers = change(signed(emulator, **{"Content-Type": "text/plain"}))
        async with session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"{}", headers=headers) as reply:
            assert reply.status == 403
            assert reply.headers["x-amzn-ErrorType"].partition(":")[0] == code
            assert text in (await reply.json())["message"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"text/plain", b"text/\xff", b"InvalidSignatureException"),
        (b"Signature=", b"Signature=\xff", b"IncompleteSignatureException"),
    ],
)
async def test_bytes_that_are_no_text_are_refused(old: bytes, new: bytes, code: bytes) -> None:
    """What is not UTF-8, in a signed header or in the signature, has no canonical form: 403."""
    async with Emulator(signing()) as emulator:
        headers = signed(emulator, **{"Content-Type": "text/plain"})
        lines = [f"{key}: {value}\r\n" for key, value in headers.items()]
        head = "".join(["POST /endpoints/echo/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n", *lines])
        reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        writer.write(head.encode().replace(old, new) + b"\r\n{}")
        reply = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"x-amzn-ErrorType: " + code in reply


async def test_callers_may_sign_headers_that_the_sdk_would_not() -> None:
    """The headers to check are those in SignedHeaders, whichever they are; a body of another hash is refused."""
    async with Emulator(signing()) as emulator, http() as session:
        url = f"{emulator.url}/endpoints/echo/invocations"
        headers = signed(emulator, **{"Content-Length": "2", "X-Amz-Meta": "a   b"})
        async with session.post(url, data=b"{}", headers=headers) as reply:
            assert reply.status == 200
        async with session.post(url, data=b"[]", headers=headers) as reply:
            assert reply.status == 403


async def test_signatures_can_be_switched_off() -> None:
    """With verify_signatures off, a call without any signature is served."""
    async with (
        Emulator(settings({"echo": FAST}, verify_signatures=False)) as emulator,
        http() as session,
        session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"x") as reply,
    ):
        assert await reply.read() == b"x"


@given(
    path=st.lists(st.text("a0.~-_", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join),
    accept=st.text("a, =;", max_size=6),
)
def test_a_plain_request_is_what_botocore_takes_it_for(path: str, accept: str) -> None:
    """Whatever is taken for plain has the canonical form and the signature that botocore gives it."""
    timestamp, scope = "20260131T235959Z", f"20260131/{REGION}/sagemaker/aws4_request"
    headers = {"Host": "h:1", "X-Amz-Date": timestamp, "X-Amz-Content-SHA256": "0" * 64, "Accept": accept}
    names = ["accept", "x-amz-date", "host", "x-amz-content-sha256"]
    found = plain_canonical("POST", f"/{path}", CIMultiDictProxy(CIMultiDict(headers)), names, "0" * 64)
    assume(found is not None)

    auth = SigV4Auth(Credentials(KEY, SECRET), "sagemaker", REGION)
    request = AWSRequest(method="POST", url=f"http://h:1/{path}", headers=headers)
    request.context["timestamp"] = timestamp
    assert found == auth.canonical_request(request)
    wanted = auth.signature(auth.string_to_sign(request, found), request)
    assert signature_of(signing_key_of(SECRET, *scope.split("/")), timestamp, scope, str(found)) == wanted


@pytest.mark.parametrize(
    ("path", "header", "is_plain"),
    [
        ("/endpoints/a-b/invocations", "a b", True),
        ("/endpoints/a-b/invocations?x", "a", False),
        ("/endpoints//invocations", "a", False),
        ("/endpoints/../invocations", "a", False),
        ("/endpoints/a%20b", "a", False),
        ("/", "a", False),
        ("/a", "a  b", False),
        ("/a", " a", False),
        ("/a", "\xe9", False),
    ],
)
def test_what_is_plain(path: str, header: str, *, is_plain: bool) -> None:
    """A request with anything to normalise is left to botocore."""
    headers = CIMultiDictProxy(CIMultiDict({"Word": header}))

    assert (plain_canonical("POST", path, headers, ["word"], "0" * 64) is not None) == is_plain
    assert plain_canonical("POST", path, headers, ["word", "word"], "0" * 64) is None
    assert plain_canonical("POST", path, headers, ["absent"], "0" * 64) is None
