"""Identities: found by the AWS chain, by profile and by role, each once for all endpoints that have it."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from aiohttp import web
from botocore.exceptions import EndpointConnectionError
from moto.server import ThreadedMotoServer
from structlog.typing import FilteringBoundLogger

from gateway.config import Config
from gateway.errors import CREDENTIALS, Refusal
from gateway.holdings import Holdings
from gateway.sagemaker import credentials as module
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.identities import chains, open_identity, problem_of
from gateway.sagemaker.signing import Credentials
from tests.sagemaker.diary import Diary, refusal_of
from tests.stand import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from tests.waiting import until

SECRET = "the-secret"
TOKEN = "the-token"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/invoker"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/other"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@asynccontextmanager
async def open_identities(config: Config, log: FilteringBoundLogger) -> AsyncIterator[Mapping[str, CredentialSource]]:
    """The credentials of each endpoint, by its key, until the end."""
    own, holdings = chains(config), Holdings()
    try:
        sources = await holdings.hold({chain: partial(open_identity, chain, log) for chain in own.values()})
        yield {key: sources[chain] for key, chain in own.items()}
    finally:
        await holdings.keep(())


class Sts:
    """AWS's security token service as it is seen on the wire.

    Attributes:
        asked: what each AssumeRole asked for.
        signers: which key signed each, and for which region.
        keys: the id of the key that is given out where it is not a new one each time.
        refuses: the code of the error that is answered instead.
        door: what each answer waits for.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.signers: list[tuple[str, str]] = []
        self.keys: str | None = None
        self.refuses: str | None = None
        self.door: Callable[[], Awaitable[object]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one AssumeRole."""
        self.asked.append(dict(parse_qsl(await request.text())))
        found = re.search(r"Credential=(\w+)/\d+/([a-z0-9-]+)/sts/", request.headers["Authorization"])
        assert found
        self.signers.append((found[1], found[2]))
        if self.door is not None:
            await self.door()
        if self.refuses is not None:
            said = f"User: arn:aws:iam::{ACCOUNT}:user/x may not assume {ROLE}"
            error = f"<Error><Type>Sender</Type><Code>{self.refuses}</Code><Message>{said}</Message></Error>"
            return web.Response(
                status=403, text=f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>', content_type="text/xml"
            )
        expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = self.keys or f"ASIA{len(self.asked)}"
        credentials = (
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            f"<SessionToken>{TOKEN}</SessionToken><Expiration>{expiry}</Expiration>"
        )
        result = f"<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>"
        text = f'<AssumeRoleResponse xmlns="{NAMESPACE}">{result}</AssumeRoleResponse>'
        return web.Response(text=text, content_type="text/xml")


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sts]:
    """The service, where AWS SDKs look for it."""
    service = Sts()
    app = web.Application()
    app.router.add_post("/", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{site.port}")
    yield service
    await runner.cleanup()


@pytest.fixture
def diary() -> Diary:
    """A log that can be read."""
    return Diary()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which the chain finds nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def a_config(aws: dict[str, Any] | None = None, **endpoints: dict[str, Any]) -> Config:
    """A config with endpoints that sign as told; with none, one that signs as the process does."""
    return Config.model_validate(
        {
            "aws": {"region": "eu-west-1", **(aws or {})},
            "endpoints": {key: {"instances": 1, **more} for key, more in (endpoints or {"resnet": {}}).items()},
        }
    )


def a_profile(name: str, key: str, token: str | None = None) -> str:
    """A profile of the shared credentials file."""
    lines = [f"[{name}]", f"aws_access_key_id = {key}", f"aws_secret_access_key = {SECRET}"]
    return "\n".join([*lines, *([f"aws_session_token = {token}"] if token else []), ""])


Write = Callable[[str], None]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Write:
    """Writes the shared credentials file."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))

    def write(text: str) -> None:
        path.write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Write:
    """Writes the AWS config file."""
    path = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    def write(text: str) -> None:
        path.write_text(text, encoding="utf-8")

    return write


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_the_environment_is_asked(bare: pytest.MonkeyPatch, diary: Diary, token: str | None) -> None:
    """Keys and token of the environment are there before the first use."""
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if token is not None:
        bare.setenv("AWS_SESSION_TOKEN", token)
    async with open_identities(a_config(), diary.log) as sources:
        assert (sources["resnet"].current(), problem_of(sources.values())) == (
            Credentials("AKIAENV", SECRET, token),
            None,
        )
    assert [(line["event"], line["identity"]) for line in diary.lines()] == [("credentials_loaded", "default")]


async def test_the_profile_of_the_process_is_asked(bare: pytest.MonkeyPatch, diary: Diary, write: Write) -> None:
    """A profile of the shared credentials file is found by its name."""
    write(a_profile("default", "AKIADEFAULT") + a_profile("models", "AKIAFILE", TOKEN))
    bare.setenv("AWS_PROFILE", "models")
    async with open_identities(a_config(), diary.log) as sources:
        assert sources["resnet"].current() == Credentials("AKIAFILE", SECRET, TOKEN)


async def test_the_profile_of_an_endpoint_goes_before_the_environment(diary: Diary, write: Write) -> None:
    """As with an AWS SDK that is told a profile; endpoints that name none are signed for as before."""
    write(a_profile("default", "AKIADEFAULT") + a_profile("models", "AKIAFILE", TOKEN))
    config = a_config(resnet={"profile": "models"}, bert={}, yolo={"profile": "models"})
    async with open_identities(config, diary.log) as sources:
        assert sources["resnet"].current() == Credentials("AKIAFILE", SECRET, TOKEN)
        assert sources["bert"].current() == Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        assert sources["yolo"] is sources["resnet"]
        assert [source.name for source in dict.fromkeys(sources.values())] == ["profile models", "default"]


async def test_keys_that_appear_later_are_found(bare: pytest.MonkeyPatch, diary: Diary, write: Write) -> None:
    """A gateway that started without keys becomes ready by itself once there are some."""
    bare.setattr(module, "RETRY_SECONDS", 0.001)
    async with open_identities(a_config(), diary.log) as sources:
        assert refusal_of(sources["resnet"]).row is CREDENTIALS
        write(a_profile("default", "AKIADEFAULT"))
        await until(lambda: problem_of(sources.values()) is None)
        assert sources["resnet"].current() == Credentials("AKIADEFAULT", SECRET)
    assert diary.events() == [("error", "credentials_unusable"), ("info", "credentials_loaded")]


@pytest.mark.usefixtures("bare")
async def test_without_keys_calls_are_refused_and_operators_told(diary: Diary) -> None:
    """The caller learns that no model saw the call, the operator what to do; however often it is tried, once."""
    async with open_identities(a_config(), diary.log) as sources:
        source = sources["resnet"]
        await source.refresh()
        assert refusal_of(source).row is CREDENTIALS
        assert "AWS_ACCESS_KEY_ID" not in refusal_of(source).message
        assert "AWS_ACCESS_KEY_ID" in str(problem_of([source]))
    assert diary.events() == [("error", "credentials_unusable")]


async def test_half_a_key_pair_is_a_problem_that_is_told(bare: pytest.MonkeyPatch, diary: Diary) -> None:
    """What the chain raises does not stop the gateway from starting: it is not ready, and says why."""
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    async with open_identities(a_config(), diary.log) as sources:
        assert "PartialCredentialsError" in str(problem_of(sources.values()))


async def test_problems_say_whose_they_are(diary: Diary, sts: Sts) -> None:
    """Each identity once, by a name that holds no account, and nothing as long as there is one that can sign."""
    sts.refuses = "AccessDenied"
    config = a_config(
        resnet={"profile": "nobody"},
        bert={"role_arn": ROLE},
        yolo={"role_arn": ROLE},
        llm={"profile": "nobody", "role_arn": ROLE},
        fine={},
    )
    async with open_identities(config, diary.log) as sources:
        assert problem_of(sources.values()) is None
        problem = problem_of(source for key, source in sources.items() if key != "fine")
        assert refusal_of(sources["bert"]).message == refusal_of(sources["resnet"]).message
        assert sources["fine"].problem is None
    assert problem == (
        "profile nobody: the AWS credential chain failed with ProfileNotFound; "
        "role of bert and 1 more: the AWS credential chain failed with ClientError (AccessDenied); "
        "role of llm from profile nobody: the AWS credential chain failed with ProfileNotFound"
    )
    assert ACCOUNT in diary.text  # the log may, and tells who may not assume what


async def test_a_role_is_assumed_once_for_all_its_endpoints(
    diary: Diary, sts: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the STS of its first endpoint's region, signed by what the chain has found, under the gateway's name."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    config = a_config(
        resnet={"role_arn": ROLE, "region": "eu-central-1"}, bert={"role_arn": ROLE}, yolo={"role_arn": OTHER_ROLE}
    )
    async with open_identities(config, diary.log) as sources:
        assert sources["resnet"] is sources["bert"]
        assert sources["resnet"].current().session_token == TOKEN
        assert {sources[key].current().access_key_id for key in ("bert", "yolo")} == {"ASIA1", "ASIA2"}
    asked = sorted((form["Action"], form["RoleArn"], form["RoleSessionName"]) for form in sts.asked)
    assert asked == [("AssumeRole", ROLE, "sagemaker-gateway"), ("AssumeRole", OTHER_ROLE, "sagemaker-gateway")]
    assert sorted(sts.signers) == [(ACCESS_KEY_ID, "eu-central-1"), (ACCESS_KEY_ID, "eu-west-1")]
    assert [word in diary.text for word in (SECRET, TOKEN, ROLE)] == [False] * 3


async def test_a_role_is_assumed_by_the_profile_beside_it(diary: Diary, sts: Sts, write: Write) -> None:
    """Not by the keys of the process."""
    write(a_profile("models", "AKIAFILE"))
    async with open_identities(a_config(resnet={"profile": "models", "role_arn": ROLE}), diary.log) as sources:
        assert sources["resnet"].current().access_key_id == "ASIA1"
    assert sts.signers == [("AKIAFILE", "eu-west-1")]


async def test_a_profile_may_assume_a_role_itself(diary: Diary, sts: Sts, write: Write, configure: Write) -> None:
    """By its source profile; where no region is set, in that of the endpoint. A role beside it is assumed by that."""
    write(a_profile("source", "AKIASOURCE"))
    configure(f"[profile models]\nrole_arn = {ROLE}\nsource_profile = source\n")
    config = a_config(resnet={"profile": "models", "region": "eu-central-1"})
    async with open_identities(config, diary.log) as sources:
        assert sources["resnet"].current().access_key_id == "ASIA1"
    assert sts.signers == [("AKIASOURCE", "eu-central-1")]

    async with open_identities(a_config(resnet={"profile": "models", "role_arn": OTHER_ROLE}), diary.log) as sources:
        assert sources["resnet"].current().access_key_id == "ASIA3"
    assert [form["RoleArn"] for form in sts.asked] == [ROLE, ROLE, OTHER_ROLE]
    assert sts.signers[1:] == [("AKIASOURCE", "eu-west-1"), ("ASIA2", "eu-west-1")]


async def test_the_region_of_a_profile_is_that_of_its_chain(
    diary: Diary, sts: Sts, write: Write, configure: Write
) -> None:
    """What it assumes of its own is assumed there, as by an AWS SDK."""
    write(a_profile("source", "AKIASOURCE"))
    configure(f"[profile models]\nregion = us-west-2\nrole_arn = {ROLE}\nsource_profile = source\n")
    async with open_identities(a_config(resnet={"profile": "models"}), diary.log) as sources:
        assert sources["resnet"].problem is None
    assert sts.signers == [("AKIASOURCE", "us-west-2")]


async def test_all_are_asked_for_at_once(diary: Diary, sts: Sts) -> None:
    """No identity waits for another: here each answer comes when all have asked."""
    sts.door = lambda: until(lambda: len(sts.asked) == 3)
    roles = {f"e{n}": {"role_arn": f"{ROLE}-{n}"} for n in range(3)}
    async with open_identities(a_config(**roles), diary.log) as sources:
        assert problem_of(sources.values()) is None


async def test_chains_that_hang_do_not_keep_the_gateway_from_starting(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while it is up, alive, and not ready; ten of them take no longer than one."""
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.2)

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AioSession, "get_credentials", hang)
    config = a_config(**{f"e{n}": {"role_arn": f"{ROLE}-{n}"} for n in range(10)})
    started = asyncio.get_running_loop().time()
    async with open_identities(config, diary.log) as sources:
        assert asyncio.get_running_loop().time() - started < 1.5
        assert {source.problem for source in sources.values()} == {"not loaded yet"}


async def test_the_background_ends_with_the_gateway(diary: Diary) -> None:
    """There is a task for each identity, and none is left."""
    before = asyncio.all_tasks()
    async with open_identities(a_config(resnet={}, bert={}, yolo={"profile": "nobody"}), diary.log):
        assert len(asyncio.all_tasks() - before) == 2
    assert asyncio.all_tasks() == before


async def renewed(source: CredentialSource, callers: int = 1) -> list[str]:
    """The ids of the keys that callers get whose calls have been rejected."""
    rejected = source.current()
    found = await asyncio.gather(*(source.renew(rejected) for _ in range(callers)))
    return [credentials.access_key_id for credentials in found]


async def test_a_rejected_role_is_assumed_once_more(diary: Diary, sts: Sts) -> None:
    """For 200 callers at once, although its keys would have been good for an hour by their own account."""
    async with open_identities(a_config(resnet={"role_arn": ROLE}), diary.log) as sources:
        assert await renewed(sources["resnet"], 200) == ["ASIA2"] * 200
        assert problem_of(sources.values()) is None
    assert len(sts.asked) == 2


async def test_a_rejected_role_of_a_profile_is_assumed_once_more(
    diary: Diary, sts: Sts, write: Write, configure: Write
) -> None:
    """What the chain has assumed is not taken from its memory."""
    write(a_profile("source", "AKIASOURCE"))
    configure(f"[profile models]\nrole_arn = {ROLE}\nsource_profile = source\n")
    async with open_identities(a_config(resnet={"profile": "models"}), diary.log) as sources:
        assert await renewed(sources["resnet"], 200) == ["ASIA2"] * 200
    assert len(sts.asked) == 2


@pytest.mark.parametrize("refuses", [None, "AccessDenied"], ids=["the same keys", "a refusal"])
async def test_a_role_that_gives_no_other_keys_is_asked_once(diary: Diary, sts: Sts, refuses: str | None) -> None:
    """However many callers are rejected, and whoever comes later; readiness says whose keys they are."""
    sts.keys = "ASIASAME"
    async with open_identities(a_config(resnet={"role_arn": ROLE}), diary.log) as sources:
        sts.refuses = refuses
        source = sources["resnet"]
        rejected = source.current()
        results = await asyncio.gather(*(source.renew(rejected) for _ in range(200)), return_exceptions=True)
        assert [result.row for result in results if isinstance(result, Refusal)] == [CREDENTIALS] * 200
        assert refusal_of(source).row is CREDENTIALS
        assert problem_of(sources.values()) == (
            "role of resnet: AWS does not accept them, and the AWS credential chain has no others"
        )
        assert len(sts.asked) == 2


async def test_a_file_that_has_changed_is_read_again(diary: Diary, write: Write) -> None:
    """Keys that were rotated on disk serve from the first rejection on."""
    write(a_profile("models", "AKIAOLD"))
    async with open_identities(a_config(resnet={"profile": "models"}), diary.log) as sources:
        write(a_profile("models", "AKIANEW"))
        assert await renewed(sources["resnet"]) == ["AKIANEW"]


async def test_the_environment_is_read_again(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    """It seldom changes while a process runs, but nothing of it is kept."""
    async with open_identities(a_config(), diary.log) as sources:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
        assert await renewed(sources["resnet"]) == ["AKIANEW"]


async def test_a_role_is_assumed_by_keys_that_have_changed(diary: Diary, sts: Sts, write: Write) -> None:
    """A renewal goes back to where the chain begins."""
    write(a_profile("models", "AKIAOLD"))
    async with open_identities(a_config(resnet={"profile": "models", "role_arn": ROLE}), diary.log) as sources:
        write(a_profile("models", "AKIANEW"))
        assert await renewed(sources["resnet"]) == ["ASIA2"]
    assert [signer for signer, _ in sts.signers] == ["AKIAOLD", "AKIANEW"]


async def test_a_role_without_anything_to_assume_it_with(bare: pytest.MonkeyPatch, diary: Diary) -> None:
    """It is told in the same words as for calls that are signed directly."""
    bare.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    async with open_identities(a_config(resnet={"role_arn": ROLE}), diary.log) as sources:
        assert str(problem_of(sources.values())).startswith("role of resnet: the AWS credential chain found none")


@pytest.mark.parametrize(
    ("aws", "environment", "host"),
    [
        ({}, "false", "sts.eu-west-1.amazonaws.com"),
        ({}, "true", "sts-fips.eu-west-1.amazonaws.com"),
        ({"use_fips_endpoint": False}, "true", "sts.eu-west-1.amazonaws.com"),
        ({"use_fips_endpoint": True}, "false", "sts-fips.eu-west-1.amazonaws.com"),
        ({"region": "us-gov-west-1", "use_fips_endpoint": True}, "false", "sts.us-gov-west-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "false", "sts.cn-north-1.amazonaws.com.cn"),
        ({"use_dualstack_endpoint": True}, "false", "sts.eu-west-1.api.aws"),
    ],
)
async def test_the_host_of_sts_is_of_the_kind_that_was_chosen(
    diary: Diary, monkeypatch: pytest.MonkeyPatch, aws: dict[str, Any], environment: str, host: str
) -> None:
    """A regional one, by the same settings as those of SageMaker."""
    asked = []

    async def send(_session: object, request: Any) -> None:
        asked.append(request.url)
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(AIOHTTPSession, "send", send)
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", environment)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with open_identities(a_config(aws, resnet={"role_arn": ROLE}), diary.log) as sources:
        assert "EndpointConnectionError" in str(sources["resnet"].problem)
    assert asked == [f"https://{host}/"]


@pytest.fixture
def moto_sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A security token service that we did not write, where AWS SDKs look for it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://{host}:{port}")
    yield
    server.stop()


@pytest.mark.usefixtures("moto_sts")
async def test_moto_gives_a_role(diary: Diary) -> None:
    """And other keys for it once these have been rejected."""
    async with open_identities(a_config({"use_fips_endpoint": True}, resnet={"role_arn": ROLE}), diary.log) as sources:
        first = sources["resnet"].current()
        assert first.access_key_id.startswith("ASIA")
        assert first.session_token
        (second,) = await renewed(sources["resnet"])
        assert second.startswith("ASIA")
        assert second != first.access_key_id
