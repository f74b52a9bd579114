"""Who may call: keys, signatures and routes, decided without a socket."""

from hashlib import sha256

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.callers import Caller, Callers
from gateway.config.keys import Key, Keys
from gateway.errors import DENIED, Refusal

SECRET = "sgw_an-api-key-of-a-test"
OTHER = "sgw_another-key-of-a-test"
PAIR = ("SGWEXAMPLEEXAMPLE234", "an-example-of-40-characters-or-any-from-32")
KEYS = Keys(
    keys=(
        Key(name="team-a", key_sha256=sha256(SECRET.encode()).hexdigest().upper(), routes=("classify",)),
        Key(name="team-a", key_sha256=sha256(OTHER.encode()).hexdigest(), routes="all"),
        Key(name="team-b", access_key_id=PAIR[0], secret_access_key=PAIR[1], routes=("classify",)),
    )
)
TARGET = "/endpoints/classify/invocations"
BODY = b"{}"


def given_headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    """Headers as a server has them."""
    return CIMultiDictProxy(CIMultiDict(pairs))


def signed(key_id: str = PAIR[0], secret: str = PAIR[1], *more: tuple[str, str]) -> CIMultiDictProxy[str]:
    """The headers of a call that is signed right now."""
    request = AWSRequest(method="POST", url=f"http://gateway{TARGET}", data=BODY)
    SigV4Auth(Credentials(key_id, secret), "sagemaker", "eu-west-1").add_auth(request)
    return given_headers(("Host", "gateway"), *request.headers.items(), *more)


def identified(*pairs: tuple[str, str]) -> Caller:
    """Who these headers are of."""
    return Callers(KEYS).identify(given_headers(*pairs))


def denied(headers: CIMultiDictProxy[str], callers: Callers | None = None) -> str:
    """What a caller is told who is nobody."""
    with pytest.raises(Refusal) as caught:
        (callers or Callers(KEYS)).identify(headers)
    assert caught.value.row is DENIED
    return caught.value.message


def check(caller: Caller, headers: CIMultiDictProxy[str], body: bytes = BODY) -> None:
    """Compare the signature with a body that has come."""
    caller.check_signature(method="POST", target=TARGET, headers=headers, body_sha256=sha256(body).hexdigest())


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {SECRET}"),
        ("authorization", f"bearer  {SECRET}"),
        ("x-api-key", SECRET),
        ("X-Api-Key", SECRET),
    ],
)
def test_a_key_is_known_by_its_digest(header: tuple[str, str]) -> None:
    """As a bearer token or in a header of its own; its holder is certain at once."""
    caller = identified(header)

    assert (caller.name, caller.proven) == ("team-a", True)
    check(caller, given_headers(header))


def test_a_caller_may_have_several_keys() -> None:
    """An old one and a new one, each with its own routes."""
    old, new = identified(("x-api-key", SECRET)), identified(("x-api-key", OTHER))

    assert old.name == new.name
    new.check_route("resnet")
    with pytest.raises(Refusal) as caught:
        old.check_route("resnet")
    assert caught.value.message == "The key of team-a may not be used for resnet."


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "asks callers who they are"),
        ([("Authorization", "")], "of a kind that is not taken"),
        ([("Authorization", "Basic dTpw")], "of a kind that is not taken"),
        ([("Authorization", "Bearer")], "not known"),
        ([("Authorization", "Bearer x")], "not known"),
        ([("Authorization", SECRET)], "of a kind that is not taken"),
        ([("x-api-key", "")], "not known"),
        ([("x-api-key", f"{SECRET}x")], "not known"),
        ([("x-api-key", sha256(SECRET.encode()).hexdigest())], "not known"),
        ([("x-api-key", "\udcff")], "not known"),
        ([("x-api-key", "x"), ("Authorization", f"Bearer {SECRET}")], "not known"),
        ([("x-api-key", SECRET), ("x-api-key", SECRET)], "more than once"),
        ([("Authorization", f"Bearer {SECRET}"), ("Authorization", "Bearer x")], "more than once"),
        ([("Authorization", "AWS4-HMAC-SHA256 Credential=x")], "not of the form"),
    ],
)
def test_strangers_are_refused_with_a_reason(headers: list[tuple[str, str]], says: str) -> None:
    """No key, a wrong one, two of them, or the digest in place of the key: 403, and what to do."""
    assert says in denied(given_headers(*headers))


@given(key=st.text())
def test_no_other_key_is_taken(key: str) -> None:
    """Whatever is guessed."""
    assert denied(given_headers(("x-api-key", key.encode(errors="replace").decode())))


def test_a_signature_is_proven_by_the_body() -> None:
    """Its caller is not certain before, and the right secret and body make it so."""
    headers = signed()
    caller = Callers(KEYS).identify(headers)

    assert (caller.name, caller.proven) == ("team-b", False)
    caller.check_route("classify")
    check(caller, headers)
    with pytest.raises(Refusal) as caught:
        check(caller, headers, b"[]")
    assert caught.value.row is DENIED


def test_a_wrong_secret_is_found_out() -> None:
    """The id alone opens nothing."""
    headers = signed(PAIR[0], PAIR[1][::-1])
    caller = Callers(KEYS).identify(headers)

    with pytest.raises(Refusal) as caught:
        check(caller, headers)
    assert "does not match" in caught.value.message


def test_a_key_goes_before_a_signature() -> None:
    """An SDK signs with whatever keys it has; a header can be added to that."""
    headers = signed("AKIAOFSOMEBODYELSE", "any-secret-at-all-that-is-long-enough", ("x-api-key", SECRET))

    assert Callers(KEYS).identify(headers).proven


def test_the_clock_can_be_set() -> None:
    """A signature of now is refused ten minutes later."""
    assert "5 minutes" in denied(signed(), Callers(KEYS, lambda: 0.0))


def test_without_keys_anybody_may_call() -> None:
    """And whatever they show is not looked at, as SDKs sign with keys that mean nothing here."""
    caller = Callers(None).identify(given_headers(("Authorization", "AWS4-HMAC-SHA256 nonsense")))

    assert (caller.name, caller.proven) == (None, True)
    caller.check_route("any")
    check(caller, given_headers())


def test_with_no_key_at_all_nobody_may() -> None:
    """An empty file closes the gateway; it does not open it."""
    assert denied(given_headers(("x-api-key", SECRET)), Callers(Keys(keys=())))


def test_keys_can_be_replaced() -> None:
    """From then on the old ones are strangers; who has been identified stays so."""
    callers = Callers(KEYS)
    headers = signed()
    before = callers.identify(headers)

    callers.replace(Keys(keys=()))

    check(before, headers)
    assert denied(given_headers(("x-api-key", SECRET)), callers)
    callers.replace(None)
    assert callers.identify(given_headers()).name is None


def test_nothing_shows_a_secret() -> None:
    """Neither a caller nor the keys, printed."""
    shown = f"{Callers(KEYS).identify(signed())!r} {KEYS!r} {KEYS}"

    assert "team-b" in shown
    assert PAIR[1] not in shown
    assert sha256(OTHER.encode()).hexdigest() not in shown
