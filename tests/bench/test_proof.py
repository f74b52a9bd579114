"""Nobody is fast for what it leaves out: the upstream answers only what is signed rightly."""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .processes import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, serving
from .systems import PATH

BODY = b"0000000000000001 whole"


def signed(url: str, body: bytes, secret: str = SECRET_ACCESS_KEY) -> dict[str, str]:
    """The headers of a signed request."""
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "text/plain"})
    SigV4Auth(Credentials(ACCESS_KEY_ID, secret), "sagemaker", REGION).add_auth(request)
    return dict(request.headers.items())


async def ask(url: str, headers: Mapping[str, str]) -> int:
    """The status of one request on a connection of its own."""
    async with aiohttp.ClientSession() as session, session.post(url, data=BODY, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_only_what_is_signed_rightly_is_answered(tmp_path: Path) -> None:
    """Right: the body. No signature, another key, another body, no hash of the body: 403, whoever asks."""
    async with serving(["-m", "tests.bench.upstream"], log=tmp_path / "upstream.log") as upstream:
        url = f"http://127.0.0.1:{upstream.port}{PATH}"
        right = signed(url, BODY)
        unhashed = {**right, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        wrong = [{}, signed(url, BODY, "another-secret"), signed(url, BODY + b"!"), unhashed]
        statuses = [await ask(url, headers) for headers in (right, *wrong)]

    assert statuses == [200, 403, 403, 403, 403]
