"""Keys that are given out by a program of the AWS chain, which keeps count, and a SageMaker that refuses some."""

import re
import sys
from pathlib import Path

import pytest

from tests.raw import OK, Peer, Script

EXPIRED_TEXT = b'{"message":"The security token included in the request is expired, account 123456789012"}'
EXPIRED = (
    b"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: ExpiredTokenException\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(EXPIRED_TEXT), EXPIRED_TEXT)
)
CREDENTIAL = re.compile(rb"Credential=(\w+)/\d+/([\w-]+)/sagemaker/")

ISSUER = """\
import json, pathlib, sys, time
issued = pathlib.Path(sys.argv[1])
issued.write_text(issued.read_text() + "x")
time.sleep(float(sys.argv[3]) * (len(issued.read_text()) > 1))
key = sys.argv[2].format(number=len(issued.read_text()))
print(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token",
                  "Expiration": "2099-01-01T00:00:00Z"}))
issued.with_suffix(".done").write_text(issued.read_text())
"""
"""A `credential_process` that keeps count: https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html"""


class Issuer:
    """Gives out keys, as a program of the AWS chain does, and knows how often it was asked.

    Args:
        folder: where it may keep files.
        monkeypatch: for the environment.
        key: the key id, where `{number}` stands for how often it was asked.
        seconds: how long it takes from the second time on.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, seconds: float = 0) -> None:
        self._issued = folder / "issued"
        self._issued.write_text("")
        program = folder / "issuer.py"
        program.write_text(ISSUER)
        config = folder / "aws-config"
        command = f"{sys.executable} -I {program} {self._issued} {key} {seconds}"
        config.write_text(f"[profile issued]\ncredential_process = {command}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    @property
    def asked(self) -> int:
        """How often it was asked."""
        return len(self._issued.read_text())

    @property
    def answered(self) -> int:
        """How often it has given out keys."""
        return len(self._issued.with_suffix(".done").read_text())


def refusing(*keys: str) -> Script:
    """A SageMaker that takes these keys for expired."""

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(EXPIRED if signed_by(request.head)[0] in keys else OK)

    return serve


def signed_by(head: bytes) -> tuple[str, str]:
    """Key id and region of a signature."""
    found = CREDENTIAL.search(head)
    assert found
    return found[1].decode(), found[2].decode()
